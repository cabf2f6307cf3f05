#include "apps/commands/expert_maker.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <utility>

#include "apps/cli/signals.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/evaluator.h"

namespace retort::commands {
namespace {

std::string four_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

}  // namespace

Lanes lanes_for(std::int64_t parallel, std::int64_t experts, std::int64_t threads,
                std::int64_t batch) {
  if (parallel == 1) return {};
  if (parallel > 1) return {std::min(parallel, experts), experts};
  const std::int64_t at_once = eval::runs_at_once(experts, threads, train::gradient_chunks(batch));
  return {std::min(threads, at_once), at_once};
}

ExpertMaker::ExpertMaker(const nn::Network& network, const data::ImageDataset& dataset,
                         const train::ExpertRecipe& recipe, train::ExpertParts& parts,
                         Options options, cli::Program& program)
    : network_(network),
      dataset_(dataset),
      recipe_(recipe),
      parts_(parts),
      options_(options),
      program_(program) {
  const std::int64_t images = dataset.size(data::Split::Train);
  steps_per_epoch_ = (images + recipe.batch_size - 1) / recipe.batch_size;
}

void ExpertMaker::make() {
  planned_ = std::int64_t(parts_.unfinished().size());
  // A device is one: its experts take turns.
  Lanes lanes;
  if (dataset_.device().is_cpu()) {
    const std::int64_t batch = std::min(recipe_.batch_size, dataset_.size(data::Split::Train));
    lanes = lanes_for(options_.parallel, planned_, thread_count(), batch);
  }
  cli::expect_polling();
  std::atomic<std::int64_t> left{lanes.experts};
  parallel_tasks(lanes.lanes, [&](std::int64_t) {
    while (left-- > 0 && make_next()) {
    }
  });
  while (make_next()) {
  }
  program_.terminal.finish();
  if (failure_) std::rethrow_exception(failure_);
  if (program_.stop.requested() && !parts_.unfinished().empty()) {
    throw Interrupted("training experts was interrupted");
  }
}

bool ExpertMaker::make_next() {
  if (program_.stop.requested()) halt_.request();
  if (halt_.requested()) return false;
  try {
    auto claimed = parts_.claim();
    if (!claimed) return false;
    make_one(*claimed);
    return true;
  } catch (const Interrupted&) {
    return false;  // it was asked to, and has saved what it had
  } catch (...) {
    fail(std::current_exception());
    return false;
  }
}

void ExpertMaker::fail(std::exception_ptr error) {
  halt_.request();  // the others save and leave
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(error);
}

void ExpertMaker::make_one(train::ClaimedExpert& claimed) {
  const std::int64_t number = claimed.part.number;
  const std::size_t kept = claimed.part.snapshots.size();
  const std::int64_t epochs = kept == 0 ? 0 : claimed.part.info.epochs[kept - 1];
  if (kept > 0) log::info(str("expert ", number, " goes on after ", epochs, " epochs or more"));
  {
    const std::lock_guard lock(mutex_);
    earlier_ += epochs * steps_per_epoch_;
  }
  show(number, epochs * steps_per_epoch_, std::nullopt);
  train::train_expert(network_, dataset_, recipe_, claimed.part, hooks_of(claimed), &halt_);
  const std::lock_guard lock(mutex_);
  steps_[number] = recipe_.epochs * steps_per_epoch_;
}

train::ExpertHooks ExpertMaker::hooks_of(const train::ClaimedExpert& claimed) {
  const std::int64_t number = claimed.part.number;
  return {
      .after_step =
          [this, number](const train::StepReport& report) {
            if (program_.stop.requested()) halt_.request();
            show(number, 1, report.loss);
          },
      .test = [this](std::int64_t epochs_done,
                     const nn::NetworkState& state) { return test(epochs_done, state); },
      .after_epoch = [this, number](const train::EpochReport& report,
                                    const std::optional<train::ExpertTest>& tested,
                                    double seconds) { say_epoch(number, report, tested, seconds); },
      .save = [path = claimed.path](
                  const storage::ExpertPart& part) { storage::write_part(path, part); }};
}

std::optional<train::ExpertTest> ExpertMaker::test(std::int64_t epochs_done,
                                                   const nn::NetworkState& state) const {
  const bool due = options_.test_every > 0 &&
                   (epochs_done % options_.test_every == 0 || epochs_done == recipe_.epochs);
  if (!due) return std::nullopt;
  const eval::TestResult result = eval::test(network_, state, dataset_, data::Split::Test);
  return train::ExpertTest{result.loss, result.accuracy};
}

void ExpertMaker::say_epoch(std::int64_t number, const train::EpochReport& report,
                            const std::optional<train::ExpertTest>& tested, double seconds) const {
  std::string text = str("expert ", number, ": epoch ", report.epoch + 1, " of ", recipe_.epochs,
                         ", training loss ", four_digits(report.loss), ", ",
                         fixed(100 * report.accuracy, 1), " %");
  if (recipe_.name == "ast") text += str(", penalty ", four_digits(report.penalty));
  if (tested) {
    text += str("; test loss ", four_digits(tested->loss), ", ", fixed(tested->accuracy, 2), " %");
  }
  log::info(str(text, "; ", duration_text(seconds)));
}

void ExpertMaker::show(std::int64_t number, std::int64_t steps, std::optional<double> loss) {
  const std::lock_guard lock(mutex_);
  steps_[number] += steps;
  const double now = wall_seconds();
  if (now - shown_ < 0.1) return;  // tiny networks make thousands of steps a second
  shown_ = now;
  Progress progress;
  progress.phase = "training experts, steps";
  for (const auto& [expert, done] : steps_) progress.done += done;
  const auto begun = std::max(planned_, std::int64_t(steps_.size()));
  progress.earlier = earlier_;
  progress.total = begun * recipe_.epochs * steps_per_epoch_;
  progress.loss = loss;
  program_.terminal.update(progress);
}

}  // namespace retort::commands
