#include "lib/train/network_source.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

/// Some SGD steps on random mini-batches of the training split; step s depends on `rng` and s only.
class RealDataTrainer {
 public:
  RealDataTrainer(std::shared_ptr<const nn::Network> network, const data::ImageDataset& dataset,
                  const TrainedNetworksOptions& options)
      : network_(std::move(network)), data_(dataset, data::Split::Train), options_(options) {
    step_options_.augmentation = options.augmentation;
    step_options_.cutmix_probability = options.cutmix_probability;
    if (options.period < 1 || options.warmup_steps < 0 || options.steps_between < 0 ||
        options.batch_size < 1) {
      throw ConfigError(
          str("networks trained on real data: expected period and batch size of 1 or more and step "
              "counts of 0 or more, found period ",
              options.period, ", batch size ", options.batch_size, ", warm-up ",
              options.warmup_steps, ", between ", options.steps_between));
    }
  }

  void step(nn::NetworkState& state, Sgd& sgd, const Rng& rng, std::int64_t number) const {
    leave_if_requested(options_.stop, "training networks on real data");
    const Rng stream = rng.child("step", number);
    Rng sampling = stream.child("batch");
    const std::int64_t count = std::min(options_.batch_size, data_.size());
    const Tensor rows = at::tensor(sampling.sample(data_.size(), count), at::kLong);
    train_step(*network_, state, sgd, options_.lr, data_.batch(rows), step_options_, stream);
  }

  nn::NetworkState initialize(const Rng& rng) const {
    return network_->initialize(rng.child("init"), device());
  }
  at::Device device() const { return data_.device(); }
  Sgd optimizer() const { return {options_.momentum, options_.weight_decay}; }
  const nn::Network& network() const { return *network_; }
  const TrainedNetworksOptions& options() const { return options_; }

 private:
  std::shared_ptr<const nn::Network> network_;
  DatasetData data_;
  TrainedNetworksOptions options_;
  TrainOptions step_options_;
};

class FreshNetworks : public NetworkSource {
 public:
  FreshNetworks(std::shared_ptr<const nn::Network> network, Rng rng, at::Device device)
      : network_(std::move(network)), rng_(rng), device_(device) {}

  nn::NetworkState& at(std::int64_t iteration, const SyntheticImages&) override {
    state_ = network_->initialize(rng_.child("network", iteration), device_);
    return state_;
  }

 private:
  std::shared_ptr<const nn::Network> network_;
  Rng rng_;
  at::Device device_;
  nn::NetworkState state_;
};

class TrainedNetworks : public NetworkSource {
 public:
  TrainedNetworks(std::shared_ptr<const nn::Network> network, const data::ImageDataset& dataset,
                  const TrainedNetworksOptions& options, Rng rng)
      : trainer_(std::move(network), dataset, options), rng_(rng), sgd_(trainer_.optimizer()) {}

  nn::NetworkState& at(std::int64_t iteration, const SyntheticImages&) override {
    const auto& options = trainer_.options();
    const std::int64_t period = iteration / options.period;
    const std::int64_t steps =
        options.warmup_steps + (iteration % options.period) * options.steps_between;
    const Rng stream = rng_.child("network", period);
    if (period != period_ || steps < steps_) start(period, stream);
    for (; steps_ < steps; ++steps_) trainer_.step(training_, sgd_, stream, steps_);
    handed_out_ = training_.detached_clone();
    return handed_out_;
  }

  void save_state(storage::StateWriter& out) const override {
    if (period_ < 0) return;  // nothing was asked for yet
    out.integer("network_source/period", period_);
    out.integer("network_source/steps", steps_);
    out.tensors("network_source/parameters", training_.parameters);
    out.tensors("network_source/buffers", training_.buffers);
    sgd_.save_state(out, "network_source/");
  }

  void load_state(const storage::StateReader& in) override {
    if (!in.has("network_source/period")) return;
    period_ = in.integer("network_source/period");
    steps_ = in.integer("network_source/steps");
    const at::Device device = trainer_.device();
    training_.parameters = to_device(in.tensors("network_source/parameters"), device);
    training_.buffers = to_device(in.tensors("network_source/buffers"), device);
    sgd_.load_state(in, "network_source/", device);
  }

 private:
  void start(std::int64_t period, const Rng& stream) {
    training_ = trainer_.initialize(stream);
    sgd_ = trainer_.optimizer();
    period_ = period;
    steps_ = 0;
  }

  RealDataTrainer trainer_;
  Rng rng_;
  std::int64_t period_ = -1;  ///< of `training_`; -1: none yet
  std::int64_t steps_ = 0;    ///< taken by `training_`
  nn::NetworkState training_;
  Sgd sgd_;
  nn::NetworkState handed_out_;
};

class NetworkPool : public NetworkSource {
 public:
  NetworkPool(std::shared_ptr<const nn::Network> network, const data::ImageDataset& dataset,
              const PoolOptions& options, Rng rng)
      : trainer_(std::move(network), dataset, options.training), options_(options), rng_(rng) {
    if (options.count < 1 || options.max_steps < 0) {
      throw ConfigError(str("network pool: expected 1 or more networks and 0 or more steps, found ",
                            options.count, " and ", options.max_steps));
    }
  }

  nn::NetworkState& at(std::int64_t iteration, const SyntheticImages&) override {
    if (pool_.empty()) train_all();
    handed_out_ = pool_[std::size_t(pick(iteration))].detached_clone();
    return handed_out_;
  }

  std::optional<std::int64_t> member(std::int64_t iteration) const override {
    return pick(iteration);
  }

 private:
  void train_all() {
    log::info(str("training a pool of ", options_.count, " ", trainer_.network().name(),
                  " networks on real data, up to ", options_.max_steps, " steps each"));
    std::vector<nn::NetworkState> pool(std::size_t(options_.count));
    parallel_tasks(options_.count, [&](std::int64_t task) {
      const std::int64_t member = options_.count - 1 - task;  // the longest training first
      const Rng stream = rng_.child("member", member);
      auto& state = pool[std::size_t(member)];
      state = trainer_.initialize(stream);
      Sgd sgd = trainer_.optimizer();
      for (std::int64_t s = 0; s < steps_of(member); ++s) trainer_.step(state, sgd, stream, s);
    });
    pool_ = std::move(pool);
  }

  std::int64_t pick(std::int64_t iteration) const {
    Rng stream = rng_.child("pick", iteration);
    return stream.integer(options_.count);
  }

  std::int64_t steps_of(std::int64_t member) const {
    if (options_.count == 1) return options_.max_steps;
    return options_.max_steps * member / (options_.count - 1);
  }

  RealDataTrainer trainer_;
  PoolOptions options_;
  Rng rng_;
  std::vector<nn::NetworkState> pool_;
  nn::NetworkState handed_out_;
};

class SyntheticNetworks : public NetworkSource {
 public:
  SyntheticNetworks(std::shared_ptr<const nn::Network> network,
                    const SyntheticNetworksOptions& options, Rng rng, at::Device device)
      : network_(std::move(network)), options_(options), rng_(rng), device_(device) {
    if (options.period < 1 || options.epochs < 1 || options.batch_size < 1) {
      throw ConfigError(
          str("networks trained on the synthetic set: expected period, epochs and batch size of 1 "
              "or more, found ",
              options.period, ", ", options.epochs, " and ", options.batch_size));
    }
    training_.epochs = options.epochs;
    training_.batch_size = options.batch_size;
    training_.lr = options.lr;
    training_.momentum = options.momentum;
    training_.weight_decay = options.weight_decay;
    training_.augmentation = options.augmentation;
    training_.mirrored = options.mirrored;
    training_.stop = options.stop;
  }

  nn::NetworkState& at(std::int64_t iteration, const SyntheticImages& synthetic) override {
    if (iteration == last_) return state_;
    const std::int64_t use = iteration % options_.period;
    const Rng stream = rng_.child("network", iteration / options_.period);
    if (use == 0) {
      state_ = network_->initialize(stream.child("init"), device_);
    } else if (iteration == last_ + 1) {
      // A copy: a stop amid the epochs leaves the network as it was.
      nn::NetworkState trained = state_.detached_clone();
      train(*network_, trained, TensorData(synthetic()), training_, stream.child("use", use));
      state_ = std::move(trained);
    } else {
      throw Error(str("networks trained on the synthetic set: iteration ", iteration,
                      " was asked for after ", last_, "; each needs the one before it"));
    }
    last_ = iteration;
    return state_;
  }

  void save_state(storage::StateWriter& out) const override {
    if (last_ < 0) return;  // nothing was asked for yet
    out.integer("network_source/iteration", last_);
    out.tensors("network_source/parameters", state_.parameters);
    out.tensors("network_source/buffers", state_.buffers);
  }

  void load_state(const storage::StateReader& in) override {
    if (!in.has("network_source/iteration")) return;
    last_ = in.integer("network_source/iteration");
    state_.parameters = to_device(in.tensors("network_source/parameters"), device_);
    state_.buffers = to_device(in.tensors("network_source/buffers"), device_);
  }

 private:
  std::shared_ptr<const nn::Network> network_;
  SyntheticNetworksOptions options_;
  TrainOptions training_;
  Rng rng_;
  at::Device device_;
  std::int64_t last_ = -1;  ///< iteration that `state_` was handed out for
  nn::NetworkState state_;
};

}  // namespace

std::unique_ptr<NetworkSource> fresh_networks(std::shared_ptr<const nn::Network> network, Rng rng,
                                              at::Device device) {
  return std::make_unique<FreshNetworks>(std::move(network), rng, device);
}

std::unique_ptr<NetworkSource> trained_networks(std::shared_ptr<const nn::Network> network,
                                                const data::ImageDataset& dataset,
                                                TrainedNetworksOptions options, Rng rng) {
  return std::make_unique<TrainedNetworks>(std::move(network), dataset, options, rng);
}

std::unique_ptr<NetworkSource> network_pool(std::shared_ptr<const nn::Network> network,
                                            const data::ImageDataset& dataset, PoolOptions options,
                                            Rng rng) {
  return std::make_unique<NetworkPool>(std::move(network), dataset, options, rng);
}

std::unique_ptr<NetworkSource> synthetic_networks(std::shared_ptr<const nn::Network> network,
                                                  SyntheticNetworksOptions options, Rng rng,
                                                  at::Device device) {
  return std::make_unique<SyntheticNetworks>(std::move(network), options, rng, device);
}

}  // namespace retort::train
