#include "methods/matching/predicted_work.h"

#include <algorithm>

#include "lib/core/parallel.h"
#include "lib/synth/parametrization.h"

namespace retort::methods::matching {
namespace {

// A network's training: forward, input and weight gradients.
constexpr double kTraining = 3;

Flops init_flops(const StartOptions& options, const data::ImageDataset& dataset) {
  return options.needs_features() ? feature_flops(dataset, options.features) : Flops{};
}

/// Of networks while the set is condensed, per iteration.
Flops training_flops(const MatchingOptions& options, const nn::Network& network,
                     double decoded_set) {
  const auto period = double(options.net_period);
  if (options.networks == "trained") {
    const double warmups = double(options.net_warmup) / period;
    return forward_flops(
        network, kTraining * double(options.net_batch) * (double(options.net_steps) + warmups));
  }
  if (options.networks == "synthetic") {
    const double trainings = (period - 1) / period;  // none after the last use
    return forward_flops(network, kTraining * trainings * double(options.net_epochs) * decoded_set);
  }
  return {};
}

Flops pool_flops(const MatchingOptions& options, const nn::Network& network) {
  if (options.networks != "pool") return {};
  // Steps spread evenly from none to all: half of them on average.
  return forward_flops(network, kTraining / 2 * double(options.pool_size) *
                                    double(options.pool_steps) * double(options.net_batch));
}

/// Real halves that are kept: how many, and which part of them fits.
struct Kept {
  double count = 0;
  double fitting = 0;
  double bytes = 0;
};

Kept kept_halves(const MatchingOptions& options, const nn::Network& network, double classes) {
  Kept kept{.count = double(options.pool_size) * double(options.cached_draws) * classes};
  if (kept.count == 0) return kept;
  const double bytes = kept.count * double(network.parameter_count()) * sizeof(float);
  kept.bytes = std::min(bytes, double(options.cache_mb) * 1e6);
  kept.fitting = kept.bytes / bytes;
  return kept;
}

}  // namespace

Work predicted_work(const MatchingOptions& options, const Objective& objective,
                    const RunContext& run) {
  const auto network =
      nn::make_network(options.net, run.dataset.shape(), run.dataset.num_classes());
  const auto decoder = options.decoder_for(run.dataset);
  const auto classes = double(run.dataset.num_classes());
  const auto networks = double(options.networks_per_iteration);
  const auto real = double(std::min(options.batch_real, run.dataset.smallest_class()));
  const double copies = options.fyi ? 2 : 1;
  const auto decoded = double(run.ipc * decoder->images_per_stored());
  const double most = options.max_decoded > 0 ? double(options.max_decoded) : decoded;
  const double looked_at = std::min(decoded, most) * copies;
  const LossCost cost = objective.cost();
  const Kept kept = kept_halves(options, *network, classes);

  Work work;
  work.setup =
      init_flops(options, run.dataset) + pool_flops(options, *network) +
      forward_flops(*network, kept.fitting * kept.count * real * cost.real, cost.real_pass);
  work.per_iteration =
      forward_flops(*network, (1 - kept.fitting) * networks * classes * real * cost.real,
                    cost.real_pass) +
      forward_flops(*network, networks * classes * looked_at * cost.synthetic,
                    cost.synthetic_pass) +
      training_flops(options, *network, classes * decoded * copies);
  const bool joint = objective.joint(*network);
  const double at_once = joint ? classes : std::min(classes, double(thread_count()));
  const double in_graph = looked_at * cost.synthetic / 2 + (joint ? real / 2 : 0);
  work.memory_bytes =
      pixel_bytes(run.dataset) + activation_bytes(*network, at_once * in_graph) + kept.bytes;
  return work;
}

}  // namespace retort::methods::matching
