#include "lib/eval/evaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"

namespace retort::eval {
namespace {

using Confusion = std::vector<std::vector<std::int64_t>>;

constexpr std::int64_t kTestChunk = 64;

Confusion empty_confusion(std::int64_t classes) {
  return Confusion(std::size_t(classes), std::vector<std::int64_t>(std::size_t(classes)));
}

void add(Confusion& sum, const Confusion& other) {
  for (std::size_t row = 0; row < sum.size(); ++row) {
    for (std::size_t col = 0; col < sum.size(); ++col) sum[row][col] += other[row][col];
  }
}

constexpr double kTrainingPass = 3;  // test passes

/// Counts finished epochs of all runs and estimates the time left from the work done so far, in
/// passes of one image through the network.
class Board {
 public:
  Board(ProgressSink& sink, std::string network, std::int64_t runs, std::int64_t epochs,
        double epoch_work, double test_work)
      : sink_(sink),
        network_(std::move(network)),
        runs_(runs),
        epochs_(epochs),
        epoch_work_(epoch_work),
        test_work_(test_work),
        start_(wall_seconds()) {}

  void epoch(double loss) {
    const std::lock_guard lock(mutex_);
    ++epochs_done_;
    work_done_ += epoch_work_;
    loss_ = loss;
    const double now = wall_seconds();
    if (now - shown_ < 0.1) return;  // tiny sets make thousands of epochs a second
    shown_ = now;
    show();
  }

  void run_tested() {
    const std::lock_guard lock(mutex_);
    ++runs_done_;
    work_done_ += test_work_;
    show();
  }

 private:
  void show() {
    const double total = double(runs_) * (double(epochs_) * epoch_work_ + test_work_);
    Progress progress;
    progress.phase =
        str("testing with ", network_, ", ", runs_done_, " of ", runs_, " networks done");
    progress.done = epochs_done_;
    progress.total = runs_ * epochs_;
    progress.loss = loss_;
    progress.seconds_left = (wall_seconds() - start_) * std::max(0.0, total / work_done_ - 1);
    sink_.update(progress);
  }

  ProgressSink& sink_;
  std::string network_;
  std::int64_t runs_;
  std::int64_t epochs_;
  double epoch_work_;
  double test_work_;
  double start_;
  std::mutex mutex_;
  double shown_ = 0;
  double work_done_ = 0;
  double loss_ = 0;
  std::int64_t epochs_done_ = 0;
  std::int64_t runs_done_ = 0;
};

bool requested(const StopFlag* stop) { return stop != nullptr && stop->requested(); }

std::vector<double> per_class_accuracy(const Confusion& confusion) {
  std::vector<double> result;
  for (std::size_t c = 0; c < confusion.size(); ++c) {
    std::int64_t total = 0;
    for (const std::int64_t count : confusion[c]) total += count;
    result.push_back(total > 0 ? 100.0 * double(confusion[c][c]) / double(total)
                               : std::numeric_limits<double>::quiet_NaN());
  }
  return result;
}

/// What an earlier evaluation kept, in the order of the seeds.
std::vector<std::optional<FinishedRun>> recall(const std::vector<std::uint64_t>& seeds,
                                               RunKeeper* keeper) {
  std::vector<std::optional<FinishedRun>> kept(seeds.size());
  if (keeper == nullptr) return kept;
  for (std::size_t i = 0; i < seeds.size(); ++i) kept[i] = keeper->find(seeds[i]);
  return kept;
}

std::vector<std::size_t> missing_of(const std::vector<std::optional<FinishedRun>>& runs) {
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!runs[i]) missing.push_back(i);
  }
  return missing;
}

double seconds_of(const std::vector<std::optional<FinishedRun>>& runs) {
  double sum = 0;
  for (const auto& run : runs) sum += run ? run->result.seconds : 0;
  return sum;
}

NetworkResult summarise(const std::string& network, const std::vector<FinishedRun>& runs) {
  NetworkResult result;
  result.network = network;
  result.confusion = runs.front().confusion;
  std::vector<double> last;
  std::vector<double> best;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (i > 0) add(result.confusion, runs[i].confusion);
    last.push_back(runs[i].result.last);
    if (runs[i].result.best) best.push_back(*runs[i].result.best);
    result.runs.push_back(runs[i].result);
  }
  const Spread accuracy = spread(last);
  result.mean = accuracy.mean;
  result.std = accuracy.std;
  if (!best.empty()) result.best_mean = spread(best).mean;
  result.per_class = per_class_accuracy(result.confusion);
  return result;
}

std::vector<RobustResult> robust_results(const std::vector<Attack>& attacks,
                                         const std::vector<RunResult>& runs) {
  std::vector<RobustResult> results;
  for (std::size_t a = 0; a < attacks.size(); ++a) {
    RobustResult result{.attack = attacks[a], .runs = {}};
    for (const RunResult& run : runs) result.runs.push_back(run.robust.at(a));
    const Spread found = spread(result.runs);
    result.mean = found.mean;
    result.std = found.std;
    results.push_back(std::move(result));
  }
  return results;
}

/// What one network is trained on, and how.
struct Schooling {
  const train::Lessons& lessons;
  const train::TrainOptions& options;
};

/// One fresh network of one seed, from its initialisation to its test.
class Run {
 public:
  Run(const data::ImageDataset& dataset, std::int64_t test_every,
      const std::vector<Attack>& attacks, const nn::Network& network, const Schooling& schooling,
      Board& board, const StopFlag* stop)
      : dataset_(dataset),
        test_every_(test_every),
        attacks_(attacks),
        network_(network),
        schooling_(schooling),
        board_(board),
        stop_(stop) {}

  /// Nothing when a stop was requested.
  std::optional<FinishedRun> operator()(std::uint64_t seed) const {
    try {
      return finished(seed);
    } catch (const Interrupted&) {
      return std::nullopt;
    }
  }

 private:
  FinishedRun finished(std::uint64_t seed) const {
    leave_if_requested(stop_, "the evaluation");
    FinishedRun outcome;
    const double start = wall_seconds();
    const Rng rng = Rng(seed).child("evaluation");
    nn::NetworkState state = network_.initialize(rng.child("init"), dataset_.device());
    outcome.result.seed = seed;
    with_context(str("network of seed ", seed), [&] {
      train::train(network_, state, schooling_.lessons, schooling_.options, rng.child("train"),
                   [&](const train::EpochReport& report) {
                     return after_epoch(report, state, outcome.result);
                   });
    });
    leave_if_requested(stop_, "the evaluation");
    TestResult tested = test(network_, state, dataset_, data::Split::Test);
    outcome.confusion = std::move(tested.confusion);
    outcome.result.last = tested.accuracy;
    if (test_every_ > 0) {
      outcome.result.best = std::max(outcome.result.best.value_or(0), outcome.result.last);
    }
    for (const Attack& attack : attacks_) {
      outcome.result.robust.push_back(robust_accuracy(network_, state, dataset_, data::Split::Test,
                                                      attack, rng.child("attacks"), stop_));
    }
    outcome.result.seconds = wall_seconds() - start;
    board_.run_tested();
    return outcome;
  }

  bool after_epoch(const train::EpochReport& report, const nn::NetworkState& state,
                   RunResult& result) const {
    result.train_loss = report.loss;
    board_.epoch(report.loss);
    const std::int64_t done = report.epoch + 1;
    const bool extra_test = test_every_ > 0 && done % test_every_ == 0;
    if (extra_test && done < schooling_.options.epochs && !requested(stop_)) {
      const double accuracy = test(network_, state, dataset_, data::Split::Test).accuracy;
      result.best = std::max(result.best.value_or(0), accuracy);
    }
    return !requested(stop_);
  }

  const data::ImageDataset& dataset_;
  std::int64_t test_every_;
  const std::vector<Attack>& attacks_;
  const nn::Network& network_;
  Schooling schooling_;
  Board& board_;
  const StopFlag* stop_;
};

std::int64_t tests_per_run(const Protocol& protocol) {
  if (protocol.test_every == 0) return 1;
  return 1 + (protocol.train_options(false).epochs - 1) / protocol.test_every;
}

/// Test passes that attacks on one image cost.
double attack_passes(const std::vector<Attack>& attacks) {
  double passes = 0;
  for (const Attack& attack : attacks) {
    const bool fgsm = attack.kind == Attack::Kind::Fgsm;
    const auto steps = double(fgsm ? 1 : attack.steps);
    passes += 1 + double(fgsm ? 1 : attack.restarts) * (kTrainingPass * steps + 1);
  }
  return passes;
}

/// What a test pass of the network is to one of all teachers that label online.
double labelling_work(const Material& material, const nn::Network& network) {
  if (material.labeler == nullptr || material.hard_labels) return 0;
  double macs = 0;
  for (const auto& member : material.labeler->committee()) macs += double(member.network->macs());
  return macs / double(network.macs());
}

/// Trains and tests the network of every seed without an outcome, the first `at_once` of them one
/// per thread. Where a stop was requested the outcome stays empty.
void make_missing(std::vector<std::optional<FinishedRun>>& outcomes,
                  const std::vector<std::uint64_t>& seeds, const Run& run, RunKeeper* keeper,
                  std::int64_t at_once) {
  const std::vector<std::size_t> missing = missing_of(outcomes);
  std::mutex keeping;
  const auto one = [&](std::int64_t i) {
    const std::size_t place = missing[std::size_t(i)];
    outcomes[place] = run(seeds[place]);
    if (keeper == nullptr || !outcomes[place]) return;
    const std::lock_guard lock(keeping);
    keeper->keep(*outcomes[place]);
  };
  parallel_tasks(at_once, one);
  for (std::int64_t i = at_once; i < std::int64_t(missing.size()); ++i) one(i);
}

std::vector<FinishedRun> all_of(std::vector<std::optional<FinishedRun>> outcomes) {
  std::vector<FinishedRun> finished;
  for (auto& outcome : outcomes) finished.push_back(std::move(*outcome));
  return finished;
}

}  // namespace

TestResult test(const nn::Network& network, const nn::NetworkState& state,
                const data::ImageDataset& dataset, data::Split split) {
  const at::NoGradGuard no_grad;
  const std::int64_t n = dataset.size(split);
  if (n == 0) throw ConfigError(str("dataset ", dataset.info().name, " has no images to test on"));
  const std::int64_t chunks = (n + kTestChunk - 1) / kTestChunk;
  std::vector<double> losses(static_cast<std::size_t>(chunks));
  Tensors predictions(static_cast<std::size_t>(chunks));
  parallel_tasks(chunks, [&](std::int64_t chunk) {
    const std::int64_t begin = chunk * kTestChunk;
    const std::int64_t end = std::min(n, begin + kTestChunk);
    const Tensor logits =
        network.forward(state, dataset.batch(split, at::arange(begin, end, at::kLong))).logits;
    const Tensor labels =
        dataset.labels(split).slice(0, begin, end).unsqueeze(1).to(logits.device());
    losses[std::size_t(chunk)] = -logits.log_softmax(1).gather(1, labels).sum().item<double>();
    predictions[std::size_t(chunk)] = logits.argmax(1).to(at::kCPU);
  });
  TestResult result;
  result.confusion = empty_confusion(dataset.num_classes());
  const Tensor predicted = at::cat(predictions);
  const Tensor labels = dataset.labels(split).contiguous();
  const auto* p = predicted.const_data_ptr<std::int64_t>();
  const auto* y = labels.const_data_ptr<std::int64_t>();
  std::int64_t correct = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    ++result.confusion[std::size_t(y[i])][std::size_t(p[i])];
    correct += p[i] == y[i] ? 1 : 0;
  }
  for (const double loss : losses) result.loss += loss / double(n);
  result.accuracy = 100.0 * double(correct) / double(n);
  return result;
}

std::int64_t runs_at_once(std::int64_t runs, std::int64_t threads, std::int64_t chunks) {
  const std::int64_t rest = runs % threads;
  return double(rest) / chunk_gain(threads, chunks) < 1 ? runs - rest : runs;
}

double chunk_gain(std::int64_t threads, std::int64_t chunks) {
  // Less than the number of threads: chunks wait for each other at every step, and what happens
  // between steps runs on one thread.
  return 0.85 * double(std::min(threads, chunks));
}

std::int64_t runs_side_by_side(std::int64_t runs, const nn::Network& network, std::int64_t batch) {
  if (!network.per_sample(nn::Mode::Train)) return runs;
  return runs_at_once(runs, thread_count(), train::gradient_chunks(batch));
}

Evaluator::Evaluator(const data::ImageDataset& dataset, Protocol protocol,
                     std::vector<Attack> attacks)
    : dataset_(dataset), protocol_(std::move(protocol)), attacks_(std::move(attacks)) {}

Evaluator::Work Evaluator::work(const Material& material, const nn::Network& network) const {
  const double labelling = protocol_.labels == "teachers" ? labelling_work(material, network) : 0;
  const auto images = double(material.size(dataset_));
  const double test_images = double(dataset_.size(data::Split::Test));
  return {.epochs = protocol_.train_options(false).epochs,
          .epoch = images * (kTrainingPass + labelling),
          .test = test_images * (double(tests_per_run(protocol_)) + attack_passes(attacks_))};
}

NetworkResult Evaluator::evaluate(const Material& material, const std::string& network,
                                  const std::vector<std::uint64_t>& seeds, ProgressSink& progress,
                                  const StopFlag* stop, RunKeeper* keeper) const {
  const auto lessons = with_context(str("evaluating on ", dataset_.info().name), [&] {
    if (seeds.empty()) throw ConfigError("expected at least one seed, found none");
    return make_lessons(protocol_, material, dataset_);
  });
  const double start = wall_seconds();
  const auto net = nn::make_network(network, dataset_.shape(), dataset_.num_classes());
  auto options = train_options(protocol_, material, dataset_.info().mirror_changes_class);
  options.stop = stop;
  std::vector<std::optional<FinishedRun>> outcomes = recall(seeds, keeper);
  const double earlier_seconds = seconds_of(outcomes);
  const auto missing = std::int64_t(missing_of(outcomes).size());
  const Work per_run = work(material, *net);
  Board board(progress, net->name(), missing, per_run.epochs, per_run.epoch, per_run.test);
  const Run run(dataset_, protocol_.test_every, attacks_, *net, {*lessons, options}, board, stop);
  const std::int64_t batch = std::min(protocol_.batch_size, material.size(dataset_));
  with_context(str("evaluating with ", net->name()), [&] {
    make_missing(outcomes, seeds, run, keeper, runs_side_by_side(missing, *net, batch));
  });
  progress.finish();
  if (requested(stop)) throw Interrupted("the evaluation was interrupted");
  NetworkResult result = summarise(net->name(), all_of(std::move(outcomes)));
  result.robust = robust_results(attacks_, result.runs);
  result.seconds = wall_seconds() - start + earlier_seconds;
  return result;
}

Spread spread(const std::vector<double>& values) {
  if (values.empty()) return {};
  double sum = 0;
  for (const double v : values) sum += v;
  const double mean = sum / double(values.size());
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / double(values.size()))};
}

}  // namespace retort::eval
