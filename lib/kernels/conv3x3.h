#pragma once
// 3x3 convolution with stride 1 by Winograd F(4x4,3x3) (Lavin and Gray 2015), or as one product
// over patches where there are few input channels.

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::kernels {

/// Whether the fast path serves this input: the policy says fast, float32 on the CPU, a 3x3 weight,
/// and padding of channels and maps to whole blocks does not double the work. Paddings other than 1
/// only with at most 4 input channels. Any strides.
bool serves_conv3x3(const Tensor& x, const Tensor& weight, std::int64_t padding = 1);

/// conv2d(x, weight, bias, stride 1, padding). Goes to LibTorch's where the fast path does not
/// serve. Differentiable in all three to any order, on the same kernels; gradients nobody asks for
/// are not computed. Largest error about 3e-6 of the largest entry.
/// @param x [N,I,H,W]  @param weight [O,I,3,3]  @param bias [O] or undefined
/// @return [N,O,H+2*padding-2,W+2*padding-2]
Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t padding = 1);

/// LibTorch's, any dtype, differentiable twice: the reference.
Tensor conv3x3_reference(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         std::int64_t padding = 1);

}  // namespace retort::kernels
