#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"
#include "lib/storage/state_file.h"
#include "lib/train/supervised.h"

namespace retort::train {

/// The synthetic set as it is now: decoded images without a graph, and their labels. Asked for only
/// by sources that train on it.
using SyntheticImages = std::function<data::LabelledImages()>;

/// Which networks an objective looks through, iteration by iteration. Owns their state, training
/// and resume. The network of an iteration depends on the seed, the iteration and, where it is
/// trained on them, the synthetic images of the iterations before.
class NetworkSource {
 public:
  virtual ~NetworkSource() = default;
  /// The state for `iteration`; iterations are asked for in ascending order. The reference is
  /// valid until the next call. Training-mode forwards may change its buffers; later iterations do
  /// not see that, unless the source says so.
  virtual nn::NetworkState& at(std::int64_t iteration, const SyntheticImages& synthetic) = 0;
  /// Which one of a fixed number of networks `iteration` gets: equal numbers, equal states. None
  /// where no network comes twice.
  virtual std::optional<std::int64_t> member(std::int64_t) const { return {}; }
  virtual void save_state(storage::StateWriter&) const {}
  virtual void load_state(const storage::StateReader&) {}
};

/// A new random initialisation at every iteration. (Sources that train on a dataset are on its
/// device.)
std::unique_ptr<NetworkSource> fresh_networks(std::shared_ptr<const nn::Network> network, Rng rng,
                                              at::Device device = at::kCPU);

/// Networks trained on real data while they are used: every `period` iterations a new random
/// network takes `warmup_steps` SGD steps, then `steps_between` more before each following
/// iteration. Every step draws `batch_size` real images without replacement, optionally augmented
/// and mixed. Kim et al. 2022 (IDC): period 100, no warm-up, 32 steps of 64 images between, colour
/// and crop, CutMix with probability 0.5. The state is saved, so that a resumed run need not repeat
/// the steps of the current period.
struct TrainedNetworksOptions {
  std::int64_t period = 20;
  std::int64_t warmup_steps = 0;
  std::int64_t steps_between = 3;
  std::int64_t batch_size = 64;
  double lr = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  augment::Strategy augmentation = {};
  double cutmix_probability = 0;
  const StopFlag* stop = nullptr;  ///< polled before every step: at() throws Interrupted
};
/// `dataset` must outlive the source. @throws ConfigError for a period below 1, negative step
/// counts or a batch size below 1
std::unique_ptr<NetworkSource> trained_networks(std::shared_ptr<const nn::Network> network,
                                                const data::ImageDataset& dataset,
                                                TrainedNetworksOptions options, Rng rng);

/// `count` networks trained on real data when the first one is asked for, several at once; the
/// numbers of steps are spread evenly over 0 .. max_steps (a single network takes them all). Every
/// iteration takes one of them at random. A resumed run trains the same pool again: that costs less
/// than writing it with every checkpoint.
struct PoolOptions {
  std::int64_t count = 20;
  std::int64_t max_steps = 200;
  TrainedNetworksOptions training = {};  ///< batch size, step size, augmentation
};
/// `dataset` must outlive the source. @throws ConfigError for a count below 1
std::unique_ptr<NetworkSource> network_pool(std::shared_ptr<const nn::Network> network,
                                            const data::ImageDataset& dataset, PoolOptions options,
                                            Rng rng);

/// Networks trained on the synthetic set between its updates (Zhao, Mopuri and Bilen 2021): every
/// `period` iterations a new random network, which before each further one takes `epochs` passes
/// over the synthetic images. Training comes before an iteration, so none follows the last one of a
/// period. Its velocity starts at 0 before every iteration, where the papers' code, which trains
/// without momentum, has none to keep. What callers do to the buffers of a network stays with it:
/// statistics of BatchNorm that were refreshed on real images are what its training goes on from.
/// Every iteration has to be asked for; the state is saved.
struct SyntheticNetworksOptions {
  std::int64_t period = 10;
  std::int64_t epochs = 50;
  std::int64_t batch_size = 256;  ///< the last partial batch is used
  double lr = 0.01;
  double momentum = 0;
  double weight_decay = 0;
  augment::Strategy augmentation = {};  ///< one draw per mini-batch, parameters per image
  bool mirrored = false;  ///< every mini-batch gets its mirror images first (Son et al. 2024)
  const StopFlag* stop = nullptr;  ///< polled before every step: at() throws Interrupted
};
/// @throws ConfigError for a period, epochs or a batch size below 1
std::unique_ptr<NetworkSource> synthetic_networks(std::shared_ptr<const nn::Network> network,
                                                  SyntheticNetworksOptions options, Rng rng,
                                                  at::Device device = at::kCPU);

}  // namespace retort::train
