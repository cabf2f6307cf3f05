#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/progress.h"
#include "lib/core/speed.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/attacks.h"
#include "lib/eval/material.h"
#include "lib/eval/protocol.h"
#include "lib/nn/network.h"

namespace retort::eval {

/// Test result of one network.
struct TestResult {
  double accuracy = 0;                               ///< percent
  double loss = 0;                                   ///< mean cross-entropy
  std::vector<std::vector<std::int64_t>> confusion;  ///< [K][K] counts, rows: true class
};

/// Eval mode, chunks over all threads.
TestResult test(const nn::Network& network, const nn::NetworkState& state,
                const data::ImageDataset& dataset, data::Split split);

struct RunResult {
  std::uint64_t seed = 0;
  double last = 0;             ///< percent, after the last epoch
  std::optional<double> best;  ///< percent; selected on the test set over extra tests
  double train_loss = 0;       ///< of the last epoch
  double seconds = 0;
  std::vector<double> robust = {};  ///< percent under every attack of the evaluator
};

/// Accuracy of the networks of one architecture under an attack.
struct RobustResult {
  Attack attack;
  std::vector<double> runs;  ///< percent
  double mean = 0;
  double std = 0;  ///< population
};

/// What networks were trained under in the place of the protocol's augmentation.
struct AugmentedBy {
  std::string augmentation;
  std::int64_t sgd_steps = 0;
};

/// One architecture over several seeds.
struct NetworkResult {
  std::string network;
  std::optional<AugmentedBy> under = {};
  std::vector<RunResult> runs;
  double mean = 0;  ///< of `last`
  double std = 0;   ///< population standard deviation of `last`
  std::optional<double> best_mean;
  std::vector<RobustResult> robust;
  std::vector<double> per_class;  ///< percent, mean over runs; NaN for a class without test images
  std::vector<std::vector<std::int64_t>> confusion;  ///< summed over runs
  double seconds = 0;  ///< wall time of all runs; kept ones count with their own
};

/// One trained and tested network: all that an evaluation keeps of it.
struct FinishedRun {
  RunResult result;
  std::vector<std::vector<std::int64_t>> confusion;
};

/// Where the networks of one architecture on one training set go when they are finished, so that an
/// interrupted evaluation need not make them again.
class RunKeeper {
 public:
  virtual ~RunKeeper() = default;
  /// The network of `seed`, if an earlier evaluation finished it.
  virtual std::optional<FinishedRun> find(std::uint64_t seed) = 0;
  /// Called from several threads, one at a time.
  virtual void keep(const FinishedRun& run) = 0;
};

/// How many of `runs` networks train one per thread; the others follow one by one, each with its
/// mini-batches cut into `chunks` over all threads. Whichever is expected to end sooner.
std::int64_t runs_at_once(std::int64_t runs, std::int64_t threads, std::int64_t chunks);
/// As many times as fast as on one thread is a network whose mini-batches are cut into chunks.
double chunk_gain(std::int64_t threads, std::int64_t chunks);
/// runs_at_once with all threads, but that a network that cannot be cut into chunks keeps to one
/// thread even when it runs alone: its bits would otherwise depend on the company it has.
/// @param batch images of a mini-batch
std::int64_t runs_side_by_side(std::int64_t runs, const nn::Network& network, std::int64_t batch);

/// Wall seconds of one image, for networks that train side by side.
struct Pace {
  double training = 0;  ///< a pass there and back, its lesson included
  double test = 0;
};

/// Trains fresh networks on images and tests them. Each network sees LibTorch single-threaded,
/// whether it has one thread or spreads its mini-batches over all of them (train::batch_gradient),
/// so results depend neither on how many run at once nor on the number of threads. All of it
/// happens on the dataset's device.
class Evaluator {
 public:
  /// @param attacks what every trained network is tested under besides
  Evaluator(const data::ImageDataset& dataset, Protocol protocol, std::vector<Attack> attacks = {});

  /// Accuracy on the dataset's test split (which a held-out dataset draws from training data).
  /// Progress counts epochs of all runs; the sink is called from several threads, one at a time.
  /// @param material images preprocessed as `dataset` is
  /// @throws ConfigError when images or labels do not fit the dataset or the protocol, or without
  ///         seeds;
  ///         NumericalError when a training diverges; Interrupted after the step or test at
  ///         hand when `stop` was requested
  /// @param keeper told of every finished network, and asked before one is trained; may be null
  NetworkResult evaluate(const Material& material, const std::string& network,
                         const std::vector<std::uint64_t>& seeds,
                         ProgressSink& progress = no_progress(), const StopFlag* stop = nullptr,
                         RunKeeper* keeper = nullptr) const;
  NetworkResult evaluate(const data::LabelledImages& training, const std::string& network,
                         const std::vector<std::uint64_t>& seeds,
                         ProgressSink& progress = no_progress(), const StopFlag* stop = nullptr,
                         RunKeeper* keeper = nullptr) const {
    return evaluate(Material{.training = training}, network, seeds, progress, stop, keeper);
  }

  /// What one run costs, in forward passes of one image through the network.
  struct Work {
    std::int64_t epochs = 0;
    double epoch = 0;  ///< teachers that are asked included
    double test = 0;   ///< all tests and attacks
    double total() const { return double(epochs) * epoch + test; }
  };
  Work work(const Material& material, const nn::Network& network) const;
  /// Wall seconds that so many runs will take on this machine: measured, in some tenths of a second
  /// for networks that train a hundred images in that time, by some steps and tests on all cores
  /// that the runs will have.
  double predicted_seconds(const Material& material, const nn::Network& network, std::int64_t runs,
                           const Clock& clock = wall_seconds) const;

  /// What predicted_seconds measures: for `networks` of them side by side, each on a thread.
  Pace measured_pace(const Material& material, const nn::Network& network, std::int64_t networks,
                     const Clock& clock = wall_seconds) const;

  const Protocol& protocol() const { return protocol_; }

 private:
  const data::ImageDataset& dataset_;
  Protocol protocol_;
  std::vector<Attack> attacks_;
};

/// mean and population standard deviation
struct Spread {
  double mean = 0;
  double std = 0;
};
Spread spread(const std::vector<double>& values);

}  // namespace retort::eval
