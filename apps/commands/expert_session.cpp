#include "apps/commands/expert_session.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "apps/commands/expert_maker.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/nn/naming.h"
#include "methods/prediction.h"

namespace retort::commands {
namespace {

using train::ExpertParts;

std::unique_ptr<nn::Network> network_for(const ExpertsOptions& options,
                                         const data::ImageDataset& dataset) {
  const std::string name = nn::with_depth(options.net, nn::default_convnet_depth(dataset.shape()));
  return nn::make_network(name, dataset.shape(), dataset.num_classes());
}

/// Of one expert.
methods::Flops epoch_flops(const nn::Network& network, const data::ImageDataset& dataset,
                           const ExpertsOptions& options) {
  constexpr double kTraining = 3;  // forward, input and weight gradients
  // Forward, gradient of the images, and the gradients of both.
  constexpr double kPenalty = 6;
  const auto images = double(dataset.size(data::Split::Train));
  const train::TrainOptions training = options.recipe.train_options(false);
  methods::Flops work =
      methods::forward_flops(network, images * kTraining * (training.gsam ? 2 : 1));
  if (training.penalty > 0) {
    work.plain += 2.0 * double(network.macs()) * images * kPenalty;
  }
  if (options.test_every == 0) return work;
  return work + methods::forward_flops(
                    network, double(dataset.size(data::Split::Test)) / double(options.test_every));
}

}  // namespace

std::string experts_text(std::int64_t count) {
  return str(count, count == 1 ? " expert" : " experts");
}

ExpertSession::ExpertSession(ExpertsOptions& options, const data::ImageDataset& dataset)
    : options_(options), dataset_(dataset), network_(network_for(options, dataset)) {
  info_ = train::expert_info(options_.recipe, *network_, dataset_);
  info_.options = options_.recorded_text();
  info_.program_version = cli::program_version();
}

ExpertCost ExpertSession::cost(std::int64_t experts) const {
  const auto snapshots = double(options_.recipe.snapshot_epochs().size());
  const auto parameters = double(network_->parameter_count());
  const Lanes lanes =
      lanes_for(options_.parallel, experts, thread_count(),
                std::min(options_.recipe.batch_size, dataset_.size(data::Split::Train)));
  constexpr double kChunk = 32;  // images of a mini-batch that one thread works on
  ExpertCost cost;
  cost.epoch_seconds = methods::predicted_seconds(epoch_flops(*network_, dataset_, options_));
  cost.total_seconds = cost.epoch_seconds * double(options_.recipe.epochs * experts);
  cost.memory_bytes = double(peak_memory_bytes()) +
                      double(std::max<std::int64_t>(1, lanes.lanes)) * snapshots * parameters * 4 +
                      double(thread_count()) * methods::activation_bytes(*network_, kChunk);
  cost.file_bytes =
      double(experts) * snapshots * parameters * (options_.recipe.store == "bf16" ? 2 : 4);
  return cost;
}

void ExpertSession::announce(const ExpertParts& parts) const {
  const auto count = std::int64_t(parts.unfinished().size());
  if (count == 0) return;
  log::info(str("training ", experts_text(count), " by recipe ", options_.recipe.name, ": ",
                network_->name(), " on ", dataset_.info().name, ", ",
                dataset_.size(data::Split::Train), " images, ", options_.recipe.epochs,
                " epochs, into ", options_.out));
  if (options_.test_every > 0) {
    log::info(str("tested on ", options_.hold_out > 0 ? "the images held out" : "the test split",
                  " for information: nothing is chosen by it"));
  }
}

ExpertParts::Merge ExpertSession::make(cli::Program& program, const std::string& go_on) {
  expect_writable(options_.out);
  ExpertParts parts(options_.out, info_, std::uint64_t(options_.seed));
  parts.plan(options_.count, options_.add);
  return train_and([&](ExpertMaker&) { return parts.finish(); }, parts, program, go_on);
}

void ExpertSession::make_up_to(std::int64_t total, cli::Program& program,
                               const std::string& go_on) {
  expect_writable(options_.out);
  ExpertParts parts(options_.out, info_, std::uint64_t(options_.seed));
  parts.plan_up_to(total);
  train_and([&](ExpertMaker& maker) { return wait_for_others(maker, parts, program); }, parts,
            program, go_on);
}

ExpertParts::Merge ExpertSession::train_and(const std::function<Merge(ExpertMaker&)>& merge,
                                            ExpertParts& parts, cli::Program& program,
                                            const std::string& go_on) const {
  announce(parts);
  ExpertMaker maker(*network_, dataset_, options_.recipe, parts,
                    {.parallel = options_.parallel, .test_every = options_.test_every}, program);
  try {
    maker.make();
    return merge(maker);
  } catch (const Interrupted& e) {
    const auto planned = std::int64_t(parts.numbers().size());
    throw Interrupted(str(e.what(), "; ", planned - std::int64_t(parts.unfinished().size()), " of ",
                          experts_text(planned), " are finished, the others are saved in ",
                          ExpertParts::folder_of(options_.out).string(), ", ", go_on));
  }
}

/// One of them may be killed: what it leaves is made here.
ExpertParts::Merge ExpertSession::wait_for_others(ExpertMaker& maker, ExpertParts& parts,
                                                  cli::Program& program) const {
  Merge merged = parts.finish_mine();
  if (!merged.done()) {
    log::info(str("waiting for ", experts_text(std::int64_t(merged.unfinished.size())),
                  " that other processes train"));
  }
  while (!merged.done()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    leave_if_requested(&program.stop, "waiting for experts");
    maker.make();
    merged = parts.finish_mine();
  }
  return merged;
}

}  // namespace retort::commands
