#pragma once
// BatchNorm on given statistics that keeps those of what it reads: what recovering images needs of
// a frozen network, whatever its architecture.

#include "lib/core/tensor.h"

namespace retort::kernels {

/// A norm of C channels, all tensors [C].
struct FixedNorm {
  Tensor weight, bias;
  Tensor mean, variance;  ///< what it normalises by
  double eps = 1e-5;
};

struct ObservedNorm {
  Tensor y;         ///< [N,C,h,w], normalised
  Tensor mean;      ///< [C] of x, over images and positions
  Tensor variance;  ///< [C], biased
};

/// Whether the fast path serves: float32 on the CPU, and parameters that require no gradient.
bool serves_observed_norm(const Tensor& x, const FixedNorm& norm);

/// Three passes over x forwards, one back, where single operations take three times as many. On the
/// way back, with M values of a channel,
///   dx = weight rstd dy + dmean / M + 2 (x - mean) dvariance / M
/// Differentiable in x; under create_graph the gradient is the reference's. The bits do not depend
/// on the number of threads.  @param x [N,C,h,w] that serves_observed_norm accepts
ObservedNorm observed_norm(const Tensor& x, const FixedNorm& norm);

/// The same in plain LibTorch operations, of any type, differentiable in all.
ObservedNorm observed_norm_reference(const Tensor& x, const FixedNorm& norm);

}  // namespace retort::kernels
