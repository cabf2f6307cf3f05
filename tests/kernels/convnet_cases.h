#pragma once
// ConvNets of many shapes, for the tests of the kernels that run them whole.

#include <cmath>
#include <string>
#include <vector>

#include "lib/kernels/convnet_forward.h"
#include "tests/kernels/kernel_test.h"

namespace retort::testing {

struct ConvNetCase {
  std::vector<std::int64_t> image;  // [N,C,H,W]
  std::int64_t width;
  kernels::ConvNetShape shape;
};

/// Odd and even sides and channel counts, and the sizes of production.
inline const std::vector<ConvNetCase>& convnet_cases() {
  static const std::vector<ConvNetCase> all = {
      {{5, 1, 12, 12}, 32, {2, 3}},   // gray, padded to 16x16
      {{3, 3, 16, 16}, 16, {3, 1}},   // colour
      {{2, 3, 9, 14}, 20, {2, 1}},    // odd sides, channels that need padding
      {{2, 2, 7, 5}, 5, {1, 0}},      // no padding at all
      {{14, 4, 8, 8}, 48, {3, 1}},    // more images than one group
      {{2, 3, 5, 6}, 144, {1, 1}},    // channels in groups of registers, and some left
      {{2, 20, 6, 6}, 32, {2, 1}},    // many input channels: no direct first block
      {{1, 1, 28, 28}, 128, {3, 3}},  // production
      {{1, 3, 32, 32}, 128, {3, 1}},
  };
  return all;
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
