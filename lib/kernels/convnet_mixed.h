#pragma once
// ConvNet features with convolutions in bf16, for processors with matrix units; not for use outside
// this folder.

#include <span>

#include "lib/core/tensor.h"
#include "lib/kernels/convnet_forward.h"

namespace retort::kernels {

/// convnet_features without gradients, where serves_convnet_features says yes and the channels of
/// every block are a multiple of kChannelStep. Convolutions are LibTorch's in bf16 (8 significant
/// bits, sums in float32), norms, activations and pooling our own in float32. Features deviate from
/// the float32 ones by about 5e-3 of their norm, means over a class's images by less.
/// @param x [N,C,H,W] contiguous  @return [N,F] float32
Tensor convnet_features_mixed(const Tensor& x, std::span<const Tensor> parameters,
                              const ConvNetShape& shape);

/// Whether every block's norm and channels suit convnet_features_mixed: InstanceNorm only.
bool serves_convnet_mixed(std::span<const Tensor> parameters, const ConvNetShape& shape);

}  // namespace retort::kernels
