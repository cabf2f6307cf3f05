#include "methods/trajectory_matching/momentum.h"

namespace retort::methods::trajectory_matching {

void MomentumStep::step(const Tensor& x, const Tensor& gradient) {
  const at::NoGradGuard no_grad;
  if (velocity_.defined()) {
    velocity_.mul_(momentum_).add_(gradient);
  } else {
    velocity_ = gradient.detach().clone();
  }
  x.sub_(velocity_, lr_);
}

void MomentumStep::save_state(storage::StateWriter& out) const {
  if (velocity_.defined()) out.tensor(name_, velocity_);
}

void MomentumStep::load_state(const storage::StateReader& in, at::Device device) {
  if (in.has(name_)) velocity_ = in.tensor(name_).to(device);
}

void move_mean(const Tensor& mean, const Tensor& x, double decay) {
  const at::NoGradGuard no_grad;
  mean.lerp_(x, 1 - decay);
}

}  // namespace retort::methods::trajectory_matching
