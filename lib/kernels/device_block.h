#pragma once
// The block behind a convolution of the default ConvNet, by a device's kernels.

#include "lib/core/tensor.h"

namespace retort::kernels {

/// avg_pool2(relu(instance_norm(x) * weight + bias)), biased variance. Differentiable in all three:
/// once by the backend, and where the gradient itself is to be differentiated by LibTorch, which
/// computes it again.
/// @param x [N,C,H,W]  @param weight,bias [C]
/// @return [N,C,H/2,W/2], rounded down; undefined where no device backend serves
Tensor device_block(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

/// The same by LibTorch, any dtype, differentiable any number of times.
Tensor block_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

}  // namespace retort::kernels
