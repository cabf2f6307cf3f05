#pragma once
// How recovered images move: Adam with beta1 0.5, beta2 0.9, eps 1e-8 and no weight decay, at a
// step size that falls along half a cosine from the first step on (Yin et al. 2023).

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::methods::decoupled {

/// lr (1 + cos(pi t / T)) / 2  in iteration t = 0 .. T-1
double cosine_step_size(double lr, std::int64_t iteration, std::int64_t iterations);

/// Of what moves: two tensors of its shape, zero at first.
struct Moments {
  Tensor first;
  Tensor second;
};

/// One step, in place.
/// @param steps made before, with these moments
void adam_step(const Tensor& values, const Moments& moments, const Tensor& gradient, double lr,
               std::int64_t steps);

}  // namespace retort::methods::decoupled
