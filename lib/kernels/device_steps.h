#pragma once
// Optimiser steps by a device's kernels, in place and without a graph. Each returns false, having
// done nothing, where no device backend serves: other devices and dtypes, tensors to be written
// that are not contiguous.

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::kernels {

struct SgdRates {
  double lr = 0;
  double momentum = 0;
  double weight_decay = 0;
};

/// v <- momentum v + (g + weight_decay w), first step v = g + weight_decay w;  w <- w - lr v.
/// @param velocity undefined before the first step, which makes it; left alone without momentum
/// @param g shaped like w
bool device_sgd_step(const Tensor& w, Tensor& velocity, const Tensor& g, const SgdRates& rates);

struct AdamRates {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
};

/// Kingma and Ba 2015, eps 1e-8.
/// @param first,second moments, zero before step 1  @param g shaped like w  @param step 1, 2, ...
bool device_adam_step(const Tensor& w, const Tensor& first, const Tensor& second, const Tensor& g,
                      const AdamRates& rates, std::int64_t step);

}  // namespace retort::kernels
