#pragma once

#include <functional>

#include "lib/core/tensor.h"

namespace retort::testing {

/// Relative difference between autograd and a central difference of the scalar <v, f(x)> along a
/// random direction, in float64. Smooth functions reach 1e-9; 1e-6 is the usual bound.
double direction_error(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                       double h = 1e-6);

/// The same for second order: the function differentiated is x -> d<v, f(x)>/dx.
double second_direction_error(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                              double h = 1e-6);

}  // namespace retort::testing
