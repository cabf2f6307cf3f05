#pragma once

#include "lib/core/tensor.h"

namespace retort::methods::distribution_matching {

/// Squared maximum mean discrepancy of two samples under a Gaussian kernel, times its variance:
///   s^2 (mean k(r, r') + mean k(x, x') - 2 mean k(r, x)),  k(a, b) = exp(-|a - b|^2 / (2 s^2)),
/// means over all pairs, equal ones included (Gretton et al., JMLR 2012, equation 5; Zhang et al.,
/// "M3D", AAAI 2024). 0 if the samples are equal; with a growing variance it tends to the squared
/// distance of the means.
/// @param real [m,D] float32 or float64, no graph
/// @param synthetic [n,D] of the same dtype
/// @param bandwidth s^2 in units of the mean squared distance between two different ones of `real`;
///        s^2 is at least 1e-12, so that equal ones give a gradient of 0
/// @return scalar, differentiable in `synthetic`
/// @throws ConfigError if m < 2
Tensor gaussian_discrepancy(const Tensor& real, const Tensor& synthetic, double bandwidth);

}  // namespace retort::methods::distribution_matching
