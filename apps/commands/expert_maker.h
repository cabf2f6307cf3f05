#pragma once
// Trains the experts of a plan, several at once, and says how they do.

#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <optional>

#include "apps/cli/command.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/train/expert_parts.h"
#include "lib/train/experts.h"

namespace retort::commands {

/// How many experts train at once, one per thread, before the rest follow one by one, each with its
/// mini-batches cut over all threads.
struct Lanes {
  std::int64_t lanes = 0;
  std::int64_t experts = 0;  ///< made in lanes
};
/// @param parallel as asked for; 0: whichever is expected to end sooner
/// @param batch images of a mini-batch
Lanes lanes_for(std::int64_t parallel, std::int64_t experts, std::int64_t threads,
                std::int64_t batch);

/// One session of making experts. They are the same however many train at once.
class ExpertMaker {
 public:
  struct Options {
    std::int64_t parallel = 0;
    std::int64_t test_every = 1;
  };

  /// All must outlive it.
  ExpertMaker(const nn::Network& network, const data::ImageDataset& dataset,
              const train::ExpertRecipe& recipe, train::ExpertParts& parts, Options options,
              cli::Program& program);

  /// Until every expert of the plan is finished or in the hands of another process.
  /// @throws Interrupted when a stop was requested; all that was done is saved
  void make();

 private:
  /// @return false when there is nothing left to do
  bool make_next();
  void make_one(train::ClaimedExpert& claimed);
  train::ExpertHooks hooks_of(const train::ClaimedExpert& claimed);
  std::optional<train::ExpertTest> test(std::int64_t epochs_done,
                                        const nn::NetworkState& state) const;
  void say_epoch(std::int64_t number, const train::EpochReport& report,
                 const std::optional<train::ExpertTest>& tested, double seconds) const;
  void show(std::int64_t number, std::int64_t steps, std::optional<double> loss);
  void fail(std::exception_ptr error);

  const nn::Network& network_;
  const data::ImageDataset& dataset_;
  const train::ExpertRecipe& recipe_;
  train::ExpertParts& parts_;
  Options options_;
  cli::Program& program_;
  std::int64_t steps_per_epoch_;
  StopFlag halt_;  ///< a stop was requested, or an expert failed

  std::mutex mutex_;                            ///< of all below
  std::map<std::int64_t, std::int64_t> steps_;  ///< done, of the experts of this session
  std::int64_t planned_ = 0;                    ///< experts unfinished at the start
  std::int64_t earlier_ = 0;                    ///< steps that sessions before this one have made
  std::exception_ptr failure_;
  double shown_ = 0;
};

}  // namespace retort::commands
