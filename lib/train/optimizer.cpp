#include "lib/train/optimizer.h"

#include <cmath>

#include "lib/core/device.h"
#include "lib/kernels/device_steps.h"

namespace retort::train {
namespace {

constexpr double kAdamEps = 1e-8;

}  // namespace

void Sgd::step(Tensors& parameters, const Tensors& gradients, double lr) {
  const at::NoGradGuard no_grad;
  const bool first = velocity_.empty();
  if (first && momentum_ != 0) velocity_.resize(parameters.size());
  Tensor none;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor& w = parameters[i];
    const Tensor& g = gradients[i];
    Tensor& velocity = momentum_ != 0 ? velocity_[i] : none;
    if (kernels::device_sgd_step(w, velocity, g, {lr, momentum_, weight_decay_})) continue;
    if (momentum_ == 0) {
      w.mul_(1 - lr * weight_decay_).sub_(g, lr);
      continue;
    }
    if (first) {
      velocity = at::add(g, w, weight_decay_);
    } else {
      velocity.mul_(momentum_).add_(g).add_(w, weight_decay_);
    }
    w.sub_(velocity, lr);
  }
}

void Sgd::save_state(storage::StateWriter& out, const std::string& prefix) const {
  out.tensors(prefix + "velocity", velocity_);
}

void Sgd::load_state(const storage::StateReader& in, const std::string& prefix, at::Device device) {
  velocity_ = to_device(in.tensors(prefix + "velocity"), device);
}

void Adam::step(Tensors& parameters, const Tensors& gradients, double lr) {
  const at::NoGradGuard no_grad;
  if (steps_ == 0) {
    for (const Tensor& g : gradients) {
      first_.push_back(at::zeros_like(g));
      second_.push_back(at::zeros_like(g));
    }
  }
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, double(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, double(steps_));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor& w = parameters[i];
    Tensor g = gradients[i];
    const double decay =
        options_.decays.empty() || options_.decays[i] ? options_.weight_decay : 0.0;
    if (decay != 0 && options_.decoupled) w.mul_(1 - lr * decay);
    if (decay != 0 && !options_.decoupled) g = at::add(g, w, decay);
    if (kernels::device_adam_step(w, first_[i], second_[i], g, {lr, options_.beta1, options_.beta2},
                                  steps_)) {
      continue;
    }
    first_[i].mul_(options_.beta1).add_(g, 1 - options_.beta1);
    second_[i].mul_(options_.beta2).addcmul_(g, g, 1 - options_.beta2);
    w.addcdiv_(first_[i], (second_[i] / correction2).sqrt_().add_(kAdamEps), -lr / correction1);
  }
}

void Adam::reset() {
  steps_ = 0;
  first_.clear();
  second_.clear();
}

void Adam::save_state(storage::StateWriter& out, const std::string& prefix) const {
  out.integer(prefix + "steps", steps_);
  out.tensors(prefix + "first", first_);
  out.tensors(prefix + "second", second_);
}

void Adam::load_state(const storage::StateReader& in, const std::string& prefix,
                      at::Device device) {
  steps_ = in.integer(prefix + "steps");
  first_ = to_device(in.tensors(prefix + "first"), device);
  second_ = to_device(in.tensors(prefix + "second"), device);
}

}  // namespace retort::train
