#pragma once

#include "lib/nn/network.h"
#include "lib/synth/real_selection.h"
#include "methods/method.h"

namespace retort::methods {

/// What a run will cost on this machine.
struct Prediction {
  double setup_seconds = 0;
  double iteration_seconds = 0;
  double total_seconds = 0;
  double memory_bytes = 0;  ///< of Work
};

enum class Pass {
  Fused,       ///< may take whatever is fastest
  Layered,     ///< needs what the kernels for whole ConvNets do not give
  SecondOrder  ///< differentiates a gradient: fast where Fused is
};
/// Forward passes of `images` images in `network`, filed under the path they take.
Flops forward_flops(const nn::Network& network, double images, Pass pass = Pass::Fused);
Flops operator+(const Flops& a, const Flops& b);
/// Measures what ConvNet forward passes reach on this machine with all threads, once per process
/// and path of Flops there is work for: some tenths of a second each.
double predicted_seconds(const Flops& work);
/// Of `runs` networks that train side by side (eval::Evaluator), each for `passes` forward passes
/// of an image.
double training_seconds(const nn::Network& network, double passes, std::int64_t runs);
/// Of choosing real images by their features: training the network that gives them, and one pass
/// over the training split. Nothing for pixels.
Flops feature_flops(const data::ImageDataset& dataset, const synth::FeatureOptions& features);
/// Bytes of activations that `images` images leave in a graph. From the multiply-accumulates, so
/// good to a factor of two.
double activation_bytes(const nn::Network& network, double images);
/// Bytes of the pixels of both splits.
double pixel_bytes(const data::ImageDataset& dataset);

/// As predicted_seconds of what the method says of its work.
Prediction predict(const DistillationMethod& method, const RunContext& run);

}  // namespace retort::methods
