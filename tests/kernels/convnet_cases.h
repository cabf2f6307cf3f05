#pragma once
// ConvNets of many shapes, for the tests of the kernels that run them whole.

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "lib/kernels/convnet_outputs.h"
#include "tests/kernels/kernel_test.h"

namespace retort::testing {

struct ConvNetCase {
  std::vector<std::int64_t> image;  // [N,C,H,W]
  std::int64_t width;
  kernels::ConvNetShape shape;
};

inline std::ostream& operator<<(std::ostream& out, const ConvNetCase& c) {
  return out << at::IntArrayRef(c.image) << " width " << c.width << " depth " << c.shape.depth
             << " groups " << c.shape.norm_groups;
}

/// Odd and even sides and channel counts, and the sizes of production. In float64 no ReLU of these
/// lies within rounding of zero: there float32 may fall on the other side, which shows in a
/// gradient.
inline const std::vector<ConvNetCase>& convnet_cases() {
  static const std::vector<ConvNetCase> all = {
      {{5, 1, 12, 12}, 32, {2, 3}},    // gray, padded to 16x16
      {{3, 3, 16, 16}, 16, {3, 1}},    // colour
      {{2, 3, 9, 14}, 20, {2, 1}},     // odd sides, channels that need padding
      {{2, 2, 7, 5}, 5, {1, 0}},       // no padding at all
      {{14, 4, 8, 8}, 48, {3, 1}},     // more images than one group; a norm of four values
      {{14, 4, 16, 16}, 48, {3, 1}},   // the same without such a norm
      {{2, 3, 5, 6}, 144, {1, 1}},     // channels in groups of registers, and some left
      {{2, 20, 6, 6}, 32, {2, 1}},     // many input channels: no direct first block
      {{1, 1, 28, 28}, 128, {3, 3}},   // production, a single image
      {{13, 3, 32, 32}, 128, {3, 1}},  // production, a group of 12 and one image
      {{2, 3, 64, 64}, 128, {4, 1}},   // production
      {{9, 8, 32, 32}, 128, {1, 1}},   // maps so large that a group is 8 images
  };
  return all;
}

/// Images that neither threads nor groups divide evenly.
inline const ConvNetCase kOddBatch{{25, 3, 32, 32}, 128, {3, 1}};
inline const ConvNetCase kNarrowOddBatch{{25, 3, 16, 16}, 32, {3, 1}};

/// The same with GroupNorm.
inline ConvNetCase with_groups(ConvNetCase c, std::int64_t groups) {
  c.shape.norm_groups = groups;
  return c;
}

/// With GroupNorm as a network would have it: in four groups, or in one where four do not divide.
inline ConvNetCase with_groups(const ConvNetCase& c) {
  return with_groups(c, c.width % 4 == 0 ? 4 : 1);
}

/// The case under GroupNorm from one group to one per channel; one of production's size as a
/// network would have it.
inline std::vector<ConvNetCase> under_group_norm(const ConvNetCase& c) {
  if (c.width == 128) return {with_groups(c)};
  std::vector<ConvNetCase> all;
  for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{2}, std::int64_t{4}, c.width}) {
    if (c.width % groups == 0) all.push_back(with_groups(c, groups));
  }
  return all;
}

/// Whether the norm takes the mean out of every channel: a bias before it then has no influence.
inline bool takes_channel_means(const kernels::ConvNetShape& shape, std::int64_t channels) {
  return shape.groups_of(channels) == channels;
}

/// Pixels of the map that a block normalises; with block = depth, of a channel of the features.
inline std::int64_t map_pixels(const ConvNetCase& c, std::int64_t block) {
  const std::int64_t grow = 2 * c.shape.first_padding - 2;
  return ((c.image[2] + grow) >> block) * ((c.image[3] + grow) >> block);
}

/// Whether the last norm has at most four values, among which differences cancel: it amplifies
/// rounding.
inline bool ends_in_norm_of_four(const ConvNetCase& c) {
  const std::int64_t channels = c.width / c.shape.groups_of(c.width);
  return map_pixels(c, c.shape.depth - 1) * channels <= 4;
}

/// Leaves: four per block, as convnet_features takes them.
inline Tensors convnet_parameters(const ConvNetCase& c) {
  Tensors parameters;
  std::int64_t in = c.image[1];
  for (std::int64_t b = 0; b < c.shape.depth; ++b) {
    const auto name = [&](const char* part) { return part + std::to_string(b); };
    parameters.push_back(
        leaf(normal(name("w"), {c.width, in, 3, 3}) / std::sqrt(9.0 * double(in))));
    parameters.push_back(leaf(normal(name("b"), {c.width})));
    parameters.push_back(leaf(normal(name("gamma"), {c.width}) * 0.3 + 1));
    parameters.push_back(leaf(normal(name("beta"), {c.width}) * 0.3));
    in = c.width;
  }
  return parameters;
}

/// Classes of a classifier behind the features: 2 to 11, 10 in production.
inline std::int64_t classes_of(const ConvNetCase& c) { return 2 + c.width / 16; }

/// As convnet_loss_gradients takes them: the blocks' and a classifier's, none requires a gradient.
inline Tensors parameters_with_classifier(const ConvNetCase& c) {
  Tensors parameters = convnet_parameters(c);
  for (Tensor& p : parameters) p = p.detach();
  const std::int64_t features = c.width * map_pixels(c, c.shape.depth);
  parameters.push_back(normal("classifier", {classes_of(c), features}) /
                       std::sqrt(double(features)));
  parameters.push_back(normal("classifier bias", {classes_of(c)}));
  return parameters;
}

/// [N,K], rows that do not sum to one.
inline Tensor make_targets(const ConvNetCase& c) {
  return normal("targets", {c.image[0], classes_of(c)}).softmax(1) * 1.5;
}

/// Features, then the attention of every block, then its statistics.
inline Tensors all_outputs(const kernels::ConvNetOutputs& outputs) {
  Tensors all = {outputs.features};
  all.insert(all.end(), outputs.attention.begin(), outputs.attention.end());
  for (const auto& [mean, variance] : outputs.statistics) {
    all.push_back(mean);
    all.push_back(variance);
  }
  return all;
}

inline Tensors in_double(const Tensors& tensors) {
  Tensors result;
  for (const Tensor& t : tensors) result.push_back(leaf(t.to(at::kDouble)));
  return result;
}

inline Tensors with_input(const Tensor& x, const Tensors& parameters) {
  Tensors all = {x};
  all.insert(all.end(), parameters.begin(), parameters.end());
  return all;
}

/// A pixel whose activation is zero to the last digits may fall on either side of the ReLU's kink,
/// and its gradient with it; such pixels are few, so the norm of the difference is what counts.
inline double distance(const Tensor& actual, const Tensor& expected) {
  const Tensor e = expected.to(at::kDouble);
  return ((actual.to(at::kDouble) - e).norm() / e.norm()).item<double>();
}

}  // namespace retort::testing
