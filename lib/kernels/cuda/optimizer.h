#pragma once
// One optimiser step, in place: train::Sgd for networks, and the image optimiser's sgd (the same
// without weight decay) and adam.

#include <cmath>
#include <cstdint>

#include "lib/kernels/cuda/grid.h"

namespace retort::kernels::cuda {

/// v <- momentum v + (g + weight_decay w), first step v = g + weight_decay w;  w <- w - lr v.
/// Without momentum no velocity is kept.
struct SgdStep {
  std::int64_t count;
  float* w;
  float* velocity;  ///< nullptr without momentum
  const float* g;
  float lr, momentum, weight_decay;
  bool first;

  RETORT_HD std::int64_t size() const { return count; }
  RETORT_HD void operator()(std::int64_t i) const {
    float step = g[i] + weight_decay * w[i];
    if (momentum != 0) {
      if (!first) step = momentum * velocity[i] + step;
      velocity[i] = step;
    }
    w[i] -= lr * step;
  }
};

/// Kingma and Ba 2015; both moments are zero before the first step.
struct AdamStep {
  std::int64_t count;
  float* w;
  float* first_moment;
  float* second_moment;
  const float* g;
  float lr;
  float beta1, share1;  ///< share = 1 - beta, subtracted before it was rounded
  float beta2, share2;
  float correction1, correction2;  ///< 1 - beta^t of step t = 1, 2, ...

  RETORT_HD std::int64_t size() const { return count; }
  RETORT_HD void operator()(std::int64_t i) const {
    constexpr float kEps = 1e-8F;
    const float first = beta1 * first_moment[i] + share1 * g[i];
    const float second = beta2 * second_moment[i] + share2 * g[i] * g[i];
    first_moment[i] = first;
    second_moment[i] = second;
    w[i] -= lr / correction1 * (first / (std::sqrt(second / correction2) + kEps));
  }
};

/// The numbers of step 1, 2, ...; the arrays are left to fill in. Differences from one are taken in
/// double: a float beta of 0.999 would leave them four digits.
inline AdamStep adam_step(std::int64_t count, double lr, double beta1, double beta2,
                          std::int64_t step) {
  AdamStep result{};
  result.count = count;
  result.lr = float(lr);
  result.beta1 = float(beta1);
  result.share1 = float(1 - beta1);
  result.beta2 = float(beta2);
  result.share2 = float(1 - beta2);
  result.correction1 = float(1 - std::pow(beta1, double(step)));
  result.correction2 = float(1 - std::pow(beta2, double(step)));
  return result;
}

template <class Grid>
void run(const Grid& grid, const SgdStep& step) {
  grid.each(step);
}

template <class Grid>
void run(const Grid& grid, const AdamStep& step) {
  grid.each(step);
}

}  // namespace retort::kernels::cuda
