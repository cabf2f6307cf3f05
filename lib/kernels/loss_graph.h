#pragma once
// The gradients of a loss as an object that can be differentiated once more.

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::kernels {

/// Derivatives of  phi = sum_p <direction_p, gradient_p>.
struct LossProducts {
  double along = 0;    ///< phi itself, the loss's derivative along the direction
  Tensor images;       ///< [N,C,H,W] dphi/dx; undefined if not wanted
  Tensor targets;      ///< [N,K] dphi/dtargets; undefined if not wanted
  Tensors parameters;  ///< Hessian times direction, shaped like the parameters; empty if not wanted
};

struct WantedProducts {
  bool images = true;
  bool targets = false;
  bool parameters = true;
};

/// What a loss graph is made for.
struct LossUse {
  bool gradients = true;
  bool products = true;
};

/// Gradients of a mean cross-entropy with respect to the parameters, and what is needed to
/// differentiate them once more. It shares images, targets and parameters with its maker: they must
/// not be written to while it lives.
class LossGraph {
 public:
  virtual ~LossGraph() = default;
  virtual double loss() const = 0;  ///< the mean cross-entropy
  /// Shaped like the parameters, without a graph; none if it was made for the products alone.
  virtual const Tensors& gradients() const = 0;
  /// Held for the products, beside what it shares.
  virtual std::int64_t bytes() const = 0;
  /// At most once, if it was made for them.
  /// @param directions shaped like the parameters
  /// @throws ConfigError if they are not; Error the second time, or if it was not made for this
  virtual LossProducts products(const Tensors& directions, const WantedProducts& wanted) = 0;
};

/// @throws Error unless products can still be taken
void expect_products_left(bool left);
/// @throws ConfigError unless `directions` are of the parameters' number, shapes and type
void expect_directions(const Tensors& directions, const Tensors& parameters);

}  // namespace retort::kernels
