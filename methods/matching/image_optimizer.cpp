#include "methods/matching/image_optimizer.h"

#include <cmath>

namespace retort::methods::matching {

void ImageOptimizer::step(const Tensor& images, const Tensor& gradient) {
  const at::NoGradGuard no_grad;
  // A loaded state comes on the CPU.
  if (first_.defined()) first_ = first_.to(images.device());
  if (second_.defined()) second_ = second_.to(images.device());
  ++steps_;
  if (kind_ == "adam") {
    constexpr double kBeta2 = 0.999;
    if (!first_.defined()) {
      first_ = at::zeros_like(gradient);
      second_ = at::zeros_like(gradient);
    }
    first_.mul_(momentum_).add_(gradient, 1 - momentum_);
    second_.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    const double correction1 = 1 - std::pow(momentum_, double(steps_));
    const double correction2 = 1 - std::pow(kBeta2, double(steps_));
    images.addcdiv_(first_, (second_ / correction2).sqrt_().add_(1e-8), -lr_ / correction1);
    return;
  }
  if (first_.defined()) {
    first_.mul_(momentum_).add_(gradient);
  } else {
    first_ = gradient.detach().clone();
  }
  images.add_(first_, -lr_);
}

void ImageOptimizer::save_state(storage::StateWriter& out) const {
  out.integer("optimizer/steps", steps_);
  if (first_.defined()) out.tensor("optimizer/first", first_);
  if (second_.defined()) out.tensor("optimizer/second", second_);
}

void ImageOptimizer::load_state(const storage::StateReader& in) {
  steps_ = in.integer("optimizer/steps");
  if (in.has("optimizer/first")) first_ = in.tensor("optimizer/first");
  if (in.has("optimizer/second")) second_ = in.tensor("optimizer/second");
}

}  // namespace retort::methods::matching
