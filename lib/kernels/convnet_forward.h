#pragma once
// A whole ConvNet with InstanceNorm or GroupNorm, ReLU and average pooling, from images to
// features, in blocks of images that stay in cache; with gradients too, once.

#include <cstdint>
#include <span>

#include "lib/core/tensor.h"

namespace retort::kernels {

/// `depth` blocks of 3x3 convolution (stride 1), norm with a weight and a bias per channel, ReLU
/// and 2x2 average pooling.
struct ConvNetShape {
  std::int64_t depth = 3;
  std::int64_t first_padding = 1;  ///< of the first convolution (3 for 28x28 gray); 1 of the others
  double eps = 1e-5;
  /// Groups of channels that are normalised together (GroupNorm). 0: every channel by itself
  /// (InstanceNorm), or BatchNorm.
  std::int64_t norm_groups = 0;

  /// @return how many groups so many channels make
  std::int64_t groups_of(std::int64_t channels) const {
    return norm_groups == 0 ? channels : norm_groups;
  }
};

/// Whether the fused path serves this input: the policy says fast, float32 on the CPU, maps that do
/// not vanish, and channels that the groups of the norm divide. A first convolution of more than 4
/// channels must have padding 1.
bool serves_convnet_features(const Tensor& x, std::span<const Tensor> parameters,
                             const ConvNetShape& shape);

/// Features of images: what the classifier sees. Serial on a thread for which LibTorch is
/// single-threaded, else split over images. Goes to the reference where the fused path does not
/// serve. Differentiable in x and every parameter; gradients nobody asks for are not computed. The
/// gradient of a convolution's bias is exactly zero where the norm takes every channel's mean out.
/// Under create_graph the gradient is the reference's, so higher orders are right, but a caller
/// that wants them saves time with the reference in the first place.
/// @param x           [N,C,H,W]
/// @param parameters  at least 4 per block, the first 4 * depth are used: convolution weight
///                    [O,I,3,3] and bias [O], norm weight [O] and bias [O]
/// @return [N,F], channel-major like flatten(1)
Tensor convnet_features(const Tensor& x, std::span<const Tensor> parameters,
                        const ConvNetShape& shape);

/// The same in plain LibTorch operations, any dtype, differentiable twice: the reference.
Tensor convnet_features_reference(const Tensor& x, std::span<const Tensor> parameters,
                                  const ConvNetShape& shape);

}  // namespace retort::kernels
