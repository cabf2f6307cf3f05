#include "methods/trajectory_matching/predicted_work.h"

#include <algorithm>

#include "lib/synth/parametrization.h"
#include "methods/prediction.h"

namespace retort::methods::trajectory_matching {
namespace {

// In forward passes of an image.
constexpr double kGradient = 3;    // forward, and back to the parameters
constexpr double kProducts = 6;    // through that gradient, to parameters and images
constexpr double kToImages = 4.5;  // the same to the images alone
/// Experts of the papers' files.
constexpr double kExperts = 100;

double decoded_images(const TrajectoryOptions& options, const RunContext& run) {
  const auto decoder = options.decoder_for(run.dataset);
  return double(run.dataset.num_classes() * run.ipc * decoder->images_per_stored());
}

/// Images of one step, mirrored ones among them.
double visible_images(const TrajectoryOptions& options, double decoded) {
  const double batch =
      options.batch_syn > 0 ? std::min(decoded, double(options.batch_syn)) : decoded;
  return batch * (options.fyi ? 2 : 1);
}

/// The part of the steps whose graphs are kept.
double kept_share(const TrajectoryOptions& options, double step_bytes) {
  const auto steps = double(options.syn_steps);
  if (options.gradient == "unrolled") return 1;
  if (options.gradient != "hybrid") return 0;
  const double fitting = double(options.graph_memory) * 1e6 / std::max(step_bytes, 1.0);
  return std::clamp(std::floor(fitting), 1.0, steps) / steps;
}

double passes_per_step(const TrajectoryOptions& options, double kept) {
  if (options.gradient == "tesla") return 2 * kGradient + kToImages;
  return (2 - kept) * kGradient + kProducts;
}

/// Images that experts look at before the first iteration.
double expert_images(const TrajectoryOptions& options, const RunContext& run, double decoded) {
  const auto training = double(run.dataset.size(data::Split::Train));
  double images = 0;
  if (!options.init_set.empty()) {
    // Nothing is chosen.
  } else if (options.init == "representative") {
    images += training;
  } else if (options.init == "right") {
    images += std::min(training, 2 * decoded);
  }
  if (options.labels == "learned") {
    const std::int64_t followed = options.experts_followed();
    const double experts = followed > 0 ? double(followed) : kExperts;
    images += decoded * (options.label_init == "right" ? experts : 1);
  }
  return images;
}

}  // namespace

Work predicted_work(const TrajectoryOptions& options, const RunContext& run) {
  const auto network = nn::make_network(network_name(options, run.dataset), run.dataset.shape(),
                                        run.dataset.num_classes());
  const double decoded = decoded_images(options, run);
  const double visible = visible_images(options, decoded);
  const auto steps = double(options.syn_steps);
  const double step_bytes = activation_bytes(*network, visible);
  const double kept = kept_share(options, step_bytes);

  Work work;
  work.setup = forward_flops(*network, expert_images(options, run, decoded));
  if (options.needs_features())
    work.setup = work.setup + feature_flops(run.dataset, options.features);
  work.per_iteration =
      forward_flops(*network, steps * visible * passes_per_step(options, kept), Pass::SecondOrder);
  if (options.labels == "target") {
    work.per_iteration = work.per_iteration + forward_flops(*network, decoded);
  }
  const double at_work =
      options.gradient == "unrolled"
          ? 0
          : (options.micro_batch > 0 ? std::min(1.0, double(options.micro_batch) / visible) : 1);
  const double vectors = steps * (options.inner_momentum > 0 ? 2 : 1);
  work.memory_bytes = pixel_bytes(run.dataset) + step_bytes * (kept * steps + at_work) +
                      vectors * double(network->parameter_count()) * sizeof(float);
  return work;
}

}  // namespace retort::methods::trajectory_matching
