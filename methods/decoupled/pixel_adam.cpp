#include "methods/decoupled/pixel_adam.h"

#include <cmath>
#include <numbers>

namespace retort::methods::decoupled {
namespace {

constexpr double kBeta1 = 0.5;
constexpr double kBeta2 = 0.9;
constexpr double kEps = 1e-8;

}  // namespace

double cosine_step_size(double lr, std::int64_t iteration, std::int64_t iterations) {
  return lr * 0.5 * (1 + std::cos(std::numbers::pi * double(iteration) / double(iterations)));
}

void adam_step(const Tensor& values, const Moments& moments, const Tensor& gradient, double lr,
               std::int64_t steps) {
  const at::NoGradGuard no_grad;
  const auto step = double(steps + 1);
  const double correction1 = 1 - std::pow(kBeta1, step);
  const double correction2 = std::sqrt(1 - std::pow(kBeta2, step));
  moments.first.mul_(kBeta1).add_(gradient, 1 - kBeta1);
  moments.second.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
  // In PyTorch's order: eps is added behind the correction.
  values.addcdiv_(moments.first, moments.second.sqrt().div_(correction2).add_(kEps),
                  -lr / correction1);
}

}  // namespace retort::methods::decoupled
