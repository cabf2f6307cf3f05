#pragma once
// Sums over whole parameter vectors: in float64, and the same on any number of threads.

#include "lib/core/tensor.h"

namespace retort::methods::trajectory_matching {

/// <a, b>  @param a,b of one shape, float32 or float64
double inner_product(const Tensor& a, const Tensor& b);
/// |a - b|^2
double squared_distance(const Tensor& a, const Tensor& b);
/// |a|^2
double squared_norm(const Tensor& a);

}  // namespace retort::methods::trajectory_matching
