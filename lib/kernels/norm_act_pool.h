#pragma once
// Fused instance norm + affine + ReLU + 2x2 average pooling, the block that follows every
// convolution of the default ConvNet.

#include "lib/core/tensor.h"

namespace retort::kernels {

/// Whether the fused path serves this input: CPU, float32, at least 2x2 pixels, a processor with
/// AVX2, and the policy says fast. Any strides.
bool serves_norm_relu_pool(const Tensor& x);

/// y = avg_pool2(relu(instance_norm(x) * weight + bias)), per image and channel, biased variance.
/// A last odd row or column counts in the statistics and is dropped by the pooling. Goes to the
/// reference where the fused path does not serve. Differentiable in x, weight and bias; gradients
/// nobody asks for are not computed, and under create_graph the gradient is the reference's, so
/// higher orders are right (but not fast).
/// @param x [N,C,H,W]  @param weight,bias [C]  @return [N,C,H/2,W/2]
Tensor norm_relu_pool(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

/// The same in plain LibTorch operations, any dtype, differentiable twice: the reference.
Tensor norm_relu_pool_reference(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                double eps = 1e-5);

}  // namespace retort::kernels
