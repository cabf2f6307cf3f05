#pragma once

#include <string>

#include "lib/core/tensor.h"
#include "lib/storage/state_file.h"

namespace retort::methods::trajectory_matching {

/// SGD with momentum in PyTorch's convention, on one tensor:
///   v <- momentum v + g  (first step v = g),  x <- x - lr v.
class MomentumStep {
 public:
  /// @param name of the velocity in a checkpoint
  MomentumStep(std::string name, double lr, double momentum)
      : name_(std::move(name)), lr_(lr), momentum_(momentum) {}

  /// @param x updated in place  @param gradient same shape
  void step(const Tensor& x, const Tensor& gradient);
  void save_state(storage::StateWriter& out) const;
  void load_state(const storage::StateReader& in, at::Device device);

 private:
  std::string name_;
  double lr_;
  double momentum_;
  Tensor velocity_;
};

/// FTD's running mean:  mean <- decay mean + (1 - decay) x,  in place, without correction of the
/// bias towards where it starts.
void move_mean(const Tensor& mean, const Tensor& x, double decay);

}  // namespace retort::methods::trajectory_matching
