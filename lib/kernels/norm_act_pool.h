#pragma once
// Fused instance norm + affine + ReLU + 2x2 average pooling, the block that follows every
// convolution of the default ConvNet.

#include "lib/core/tensor.h"

namespace retort::kernels {

/// Whether the fused path serves this input: CPU, float32, contiguous, even height and width.
bool serves_norm_relu_pool(const Tensor& x);

/// y = avg_pool2(relu(instance_norm(x) * weight + bias)), per image and channel, biased variance,
/// eps 1e-5. Differentiable once in x, weight and bias; gradients nobody asks for are not computed.
/// @param x [N,C,H,W] float32  @param weight,bias [C]  @return [N,C,H/2,W/2]
Tensor norm_relu_pool(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

/// The same in plain LibTorch operations, any dtype, differentiable twice: the reference.
Tensor norm_relu_pool_reference(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                double eps = 1e-5);

}  // namespace retort::kernels
