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
///   class-loop: Kim et al. 2022 make one such sgd step per class in turn, each on all images, of
///     which those of other classes have no gradient and move by what is left of their velocity.
///     All K steps of a pass at once, exactly: with mu the momentum, class c has
///       v <- mu^K v + g,  S <- S - lr (1 + mu + ... + mu^(K-c-1)) v
///     by the end of the pass, and the c displacements of the next pass before its own step,
///       S <- S - lr mu^(K-c) (1 + mu + ... + mu^(c-1)) v,
///     are made by catch_up, with the step size of that next pass, to which they belong.
class ImageOptimizer {
 public:
  /// @param kind "sgd", "adam" or "class-loop"
  /// @param classes of class-loop, which wants images class by class, as many of each
  /// @throws ConfigError for another kind
  ImageOptimizer(const std::string& kind, double lr, double momentum, std::int64_t classes = 1);

  void set_lr(double lr) { lr_ = lr; }
  /// Moves the images to where the next gradient is to be taken: class-loop only. A second call
  /// without a step between does nothing.
  void catch_up(const Tensor& images);
  /// @param images updated in place  @param gradient same shape
  void step(const Tensor& images, const Tensor& gradient);
  void save_state(storage::StateWriter& out) const;
  void load_state(const storage::StateReader& in);

 private:
  enum class Kind { Sgd, Adam, ClassLoop };

  static Kind parse_kind(const std::string& text);
  void sgd_step(const Tensor& images, const Tensor& gradient);
  void adam_step(const Tensor& images, const Tensor& gradient);
  void class_loop_step(const Tensor& images, const Tensor& gradient);

  Kind kind_;
  double lr_;
  double momentum_;
  std::int64_t classes_;
  std::int64_t steps_ = 0;
  bool owes_displacement_ = false;  // class-loop: a step was made and not yet caught up with
  Tensor first_;                    // velocity, or first moment
  Tensor second_;                   // second moment of adam
};

}  // namespace retort::methods::matching
