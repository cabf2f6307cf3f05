#pragma once

#include <cstdint>
#include <string>

#include "lib/core/tensor.h"
#include "lib/storage/state_file.h"

namespace retort::methods::matching {

/// Applies a gradient to the stored images. One state for the whole run: it survives network
/// changes.
///   sgd:  v <- momentum v + g;  S <- S - lr v   (first step v = g)
///   adam: Kingma and Ba 2015 with beta1 = momentum, beta2 = 0.999, eps 1e-8
class ImageOptimizer {
 public:
  ImageOptimizer(std::string kind, double lr, double momentum)
      : kind_(std::move(kind)), lr_(lr), momentum_(momentum) {}

  /// @param images updated in place  @param gradient same shape
  void step(const Tensor& images, const Tensor& gradient);
  void save_state(storage::StateWriter& out) const;
  void load_state(const storage::StateReader& in);

 private:
  std::string kind_;
  double lr_;
  double momentum_;
  std::int64_t steps_ = 0;
  Tensor first_;   // velocity, or first moment
  Tensor second_;  // second moment of adam
};

}  // namespace retort::methods::matching
