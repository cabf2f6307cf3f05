#include "experiments/nas/trainings.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/eval/evaluator.h"
#include "methods/prediction.h"

namespace retort::experiments::nas {
namespace {

/// One training that is missing, and where its result goes.
struct Task {
  const Course* course;
  const nn::Network* network;
  std::uint64_t seed;
  Trained* result;
  double predicted;  ///< seconds on one thread
};

/// Counts networks, and estimates the time left from the predicted seconds done so far.
class Board {
 public:
  Board(ProgressSink& sink, std::int64_t before, const std::vector<Task>& tasks)
      : sink_(sink), before_(before), total_(before + std::int64_t(tasks.size())) {
    for (const Task& task : tasks) predicted_ += task.predicted;
  }

  /// @param part of the task, since it was last told of
  void advance(const Task& task, double part) {
    const std::lock_guard lock(mutex_);
    predicted_done_ += part * task.predicted;
    const double now = wall_seconds();
    if (now - shown_ < 0.1) return;
    shown_ = now;
    show(task);
  }

  void trained(const Task& task) {
    const std::lock_guard lock(mutex_);
    ++done_;
    show(task);
  }

 private:
  void show(const Task& task) {
    Progress progress;
    progress.phase = str("training networks, at ", task.network->name(), " on ", task.course->name);
    progress.done = before_ + done_;
    progress.total = total_;
    progress.earlier = before_;
    if (predicted_done_ > 0) {
      progress.seconds_left =
          (wall_seconds() - start_) * std::max(0.0, predicted_ / predicted_done_ - 1);
    }
    sink_.update(progress);
  }

  ProgressSink& sink_;
  std::int64_t before_;
  std::int64_t total_;
  double predicted_ = 0;
  double predicted_done_ = 0;
  double start_ = wall_seconds();
  double shown_ = 0;
  std::int64_t done_ = 0;
  std::mutex mutex_;
};

/// Of one that diverged.
Trained guessed(const Course& course) {
  return {.accuracy = 100.0 / double(course.tested_on.num_classes()), .diverged = true};
}

/// Does tasks on several threads at once, until all are done, a stop is requested or one fails.
class Training {
 public:
  Training(const Records& records, Board& board, const StopFlag& stop, std::int64_t at_once)
      : records_(records), board_(board), stop_(stop), at_once_(at_once) {}

  void operator()(const Task& task) {
    if (stop_.requested() || failed_) return;
    try {
      *task.result = result_of(task);
      records_.keep(*task.course, task.network->name(), task.seed, *task.result);
      board_.trained(task);
    } catch (const Interrupted&) {
      // Whoever waits for all of them finds the stop, or the failure.
    } catch (...) {
      failed_ = true;
      throw;
    }
  }

 private:
  /// One that diverges has a result, too.
  Trained result_of(const Task& task) const {
    const double start = wall_seconds();
    Trained trained;
    try {
      trained = trained_network(task);
    } catch (const NumericalError&) {
      trained = guessed(*task.course);
    }
    trained.seconds = wall_seconds() - start;
    trained.wall_seconds = trained.seconds / double(at_once_);
    return trained;
  }

  Trained trained_network(const Task& task) const {
    const Course& course = *task.course;
    const Rng rng = Rng(task.seed).child("architecture-search").child(course.stream);
    train::TrainOptions options = course.options;
    options.stop = &stop_;
    Trained trained;
    nn::NetworkState state = task.network->initialize(rng.child("init"), course.tested_on.device());
    const double part = 1 / double(options.epochs + 1);  // the test counts as an epoch
    train::train(*task.network, state, *course.lessons, options, rng.child("train"),
                 [&](const train::EpochReport& report) {
                   trained.train_loss = report.loss;
                   board_.advance(task, part);
                   return !stop_.requested() && !failed_;
                 });
    if (stop_.requested() || failed_) throw Interrupted("the training was interrupted");
    const auto tested = eval::test(*task.network, state, course.tested_on, data::Split::Test);
    trained.accuracy = tested.accuracy;
    board_.advance(task, part);
    return std::isfinite(tested.loss) ? trained : guessed(course);
  }

  const Records& records_;
  Board& board_;
  const StopFlag& stop_;
  std::int64_t at_once_;
  std::atomic<bool> failed_{false};
};

std::vector<Task> missing(const std::vector<Course>& courses, const Networks& networks,
                          const Records& records, std::vector<Trainings>& results) {
  std::vector<Task> tasks;
  for (std::size_t c = 0; c < courses.size(); ++c) {
    const Course& course = courses[c];
    results[c].assign(networks.size(), std::vector<Trained>(course.seeds.size()));
    for (std::size_t n = 0; n < networks.size(); ++n) {
      for (std::size_t s = 0; s < course.seeds.size(); ++s) {
        Trained& result = results[c][n][s];
        if (const auto found = records.find(course, networks[n]->name(), course.seeds[s])) {
          result = *found;
        } else {
          tasks.push_back({&course, networks[n].get(), course.seeds[s], &result,
                           training_seconds(course, *networks[n])});
        }
      }
    }
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task& a, const Task& b) { return a.predicted > b.predicted; });
  return tasks;
}

std::int64_t all_trainings(const std::vector<Course>& courses, const Networks& networks) {
  std::int64_t count = 0;
  for (const Course& course : courses) count += std::int64_t(course.seeds.size());
  return count * std::int64_t(networks.size());
}

}  // namespace

double training_seconds(const Course& course, const nn::Network& network) {
  constexpr double kTrainingPass = 3;  // test passes
  const double passes =
      kTrainingPass * double(course.images()) + double(course.tested_on.size(data::Split::Test));
  return methods::predicted_seconds(methods::forward_flops(network, passes)) *
         double(thread_count());
}

std::vector<Trainings> train_all(const std::vector<Course>& courses, const Networks& networks,
                                 const Records& records, ProgressSink& progress,
                                 const StopFlag& stop) {
  std::vector<Trainings> results(courses.size());
  const std::vector<Task> tasks = missing(courses, networks, records, results);
  const auto count = std::int64_t(tasks.size());
  const std::int64_t before = all_trainings(courses, networks) - count;
  log::info(
      str("training ", count, " networks", before > 0 ? str("; ", before, " are there") : ""));
  Board board(progress, before, tasks);
  Training training(records, board, stop, std::clamp<std::int64_t>(count, 1, thread_count()));
  parallel_tasks(count, [&](std::int64_t i) { training(tasks[std::size_t(i)]); });
  progress.finish();
  leave_if_requested(&stop, "the search");
  return results;
}

}  // namespace retort::experiments::nas
