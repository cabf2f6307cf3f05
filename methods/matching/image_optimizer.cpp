#include "methods/matching/image_optimizer.h"

#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/kernels/device_steps.h"

namespace retort::methods::matching {
namespace {

/// lr times the displacements number `first` to `last` - 1 that a velocity causes as it decays, for
/// every class.  @return [K*n,1,1,1], like `images`
Tensor displacements(const Tensor& images, std::int64_t classes, double lr, double momentum,
                     const std::function<std::pair<std::int64_t, std::int64_t>(std::int64_t)>& of) {
  std::vector<double> sums;
  for (std::int64_t c = 0; c < classes; ++c) {
    const auto [first, last] = of(c);
    double sum = 0;
    for (std::int64_t i = first; i < last; ++i) sum += std::pow(momentum, double(i));
    sums.push_back(lr * sum);
  }
  return at::tensor(sums, at::kDouble)
      .repeat_interleave(images.size(0) / classes)
      .to(images.device(), images.scalar_type())
      .view({-1, 1, 1, 1});
}

}  // namespace

ImageOptimizer::ImageOptimizer(const std::string& kind, double lr, double momentum,
                               std::int64_t classes)
    : kind_(parse_kind(kind)), lr_(lr), momentum_(momentum), classes_(classes) {}

ImageOptimizer::Kind ImageOptimizer::parse_kind(const std::string& text) {
  if (text == "sgd") return Kind::Sgd;
  if (text == "adam") return Kind::Adam;
  if (text == "class-loop") return Kind::ClassLoop;
  throw ConfigError(unknown_name_message("image optimizer", text, {"sgd", "adam", "class-loop"}));
}

void ImageOptimizer::catch_up(const Tensor& images) {
  if (!owes_displacement_) return;
  const at::NoGradGuard no_grad;
  const std::int64_t k = classes_;
  first_ = first_.to(images.device());  // a loaded state comes on the CPU
  images.sub_(first_ * displacements(images, k, lr_, momentum_,
                                     [k](std::int64_t c) { return std::pair(k - c, k); }));
  owes_displacement_ = false;
}

void ImageOptimizer::step(const Tensor& images, const Tensor& gradient) {
  const at::NoGradGuard no_grad;
  // A loaded state comes on the CPU.
  if (first_.defined()) first_ = first_.to(images.device());
  if (second_.defined()) second_ = second_.to(images.device());
  ++steps_;
  switch (kind_) {
    case Kind::Sgd:
      return sgd_step(images, gradient);
    case Kind::Adam:
      return adam_step(images, gradient);
    case Kind::ClassLoop:
      return class_loop_step(images, gradient);
  }
}

void ImageOptimizer::sgd_step(const Tensor& images, const Tensor& gradient) {
  if (kernels::device_sgd_step(images, first_, gradient, {lr_, momentum_, 0})) return;
  if (first_.defined()) {
    first_.mul_(momentum_).add_(gradient);
  } else {
    first_ = gradient.detach().clone();
  }
  images.add_(first_, -lr_);
}

void ImageOptimizer::adam_step(const Tensor& images, const Tensor& gradient) {
  constexpr double kBeta2 = 0.999;
  if (!first_.defined()) {
    first_ = at::zeros_like(gradient);
    second_ = at::zeros_like(gradient);
  }
  if (kernels::device_adam_step(images, first_, second_, gradient, {lr_, momentum_, kBeta2},
                                steps_)) {
    return;
  }
  first_.mul_(momentum_).add_(gradient, 1 - momentum_);
  second_.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
  const double correction1 = 1 - std::pow(momentum_, double(steps_));
  const double correction2 = 1 - std::pow(kBeta2, double(steps_));
  images.addcdiv_(first_, (second_ / correction2).sqrt_().add_(1e-8), -lr_ / correction1);
}

void ImageOptimizer::class_loop_step(const Tensor& images, const Tensor& gradient) {
  const std::int64_t k = classes_;
  if (first_.defined()) {
    first_.mul_(std::pow(momentum_, double(k))).add_(gradient);
  } else {
    first_ = gradient.detach().clone();
  }
  images.sub_(first_ * displacements(images, k, lr_, momentum_, [k](std::int64_t c) {
                return std::pair(std::int64_t{0}, k - c);
              }));
  owes_displacement_ = true;
}

void ImageOptimizer::save_state(storage::StateWriter& out) const {
  out.integer("optimizer/steps", steps_);
  out.integer("optimizer/owes", owes_displacement_ ? 1 : 0);
  if (first_.defined()) out.tensor("optimizer/first", first_);
  if (second_.defined()) out.tensor("optimizer/second", second_);
}

void ImageOptimizer::load_state(const storage::StateReader& in) {
  steps_ = in.integer("optimizer/steps");
  owes_displacement_ = in.has("optimizer/owes") && in.integer("optimizer/owes") != 0;
  if (in.has("optimizer/first")) first_ = in.tensor("optimizer/first");
  if (in.has("optimizer/second")) second_ = in.tensor("optimizer/second");
}

}  // namespace retort::methods::matching
