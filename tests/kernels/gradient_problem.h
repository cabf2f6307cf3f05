#pragma once
// Problems for gradients of a loss in all parameters, their own gradients, and products with the
// loss's Hessian: cases under every norm, and what float64 makes of them.

#include <memory>
#include <ostream>
#include <vector>

#include <torch/csrc/autograd/autograd.h>

#include "lib/kernels/convnet_gradient.h"
#include "tests/kernels/convnet_cases.h"
#include "tests/support/gradient_check.h"

namespace retort::testing {

enum class Statistics { Own, Given };  // InstanceNorm or GroupNorm; BatchNorm in evaluation

/// A case and the norm it has.
struct Setting {
  ConvNetCase c;
  Statistics statistics = Statistics::Own;
};
std::ostream& operator<<(std::ostream& out, const Setting& s);

/// Under every norm once.
std::vector<Setting> under_norms(const ConvNetCase& c);

/// A case for finite differences and the reference alone.
inline const ConvNetCase kSmall{{2, 1, 6, 6}, 4, {2, 2}};
std::vector<Setting> small_settings();

/// A norm of four values amplifies rounding, which a test of its own looks at.
bool amplifies_rounding(const Setting& s);

/// Running mean and variance of every block, far from the 0 and 1 they start from; or none.
Tensors make_buffers(const ConvNetCase& c, Statistics statistics);
Tensors to_double(Tensors tensors);
Tensors make_directions(const Tensors& parameters);

/// p a + q b
Tensors combined(double p, const Tensors& a, double q, const Tensors& b);

struct Problem {
  /// Gradients of the parameters; and those of images and targets for the directions as cotangents.
  struct Orders {
    Tensors first, second;
  };

  kernels::ConvNetShape shape;
  bool idle_biases;  // of the convolutions, whose means the norm takes out
  Tensors parameters, buffers, directions;
  Tensor x, targets;

  explicit Problem(const Setting& s) : Problem(s.c, s.statistics) {}
  explicit Problem(const ConvNetCase& c, Statistics statistics = Statistics::Own)
      : shape(c.shape),
        idle_biases(statistics == Statistics::Own && takes_channel_means(c.shape, c.width)),
        parameters(parameters_with_classifier(c)),
        buffers(make_buffers(c, statistics)),
        directions(make_directions(parameters)),
        x(normal("x", c.image)),
        targets(make_targets(c)) {}

  bool is_idle_bias(std::size_t i) const {
    return idle_biases && i % 4 == 1 && i + 2 < parameters.size();
  }
  std::unique_ptr<kernels::LossGraph> graph() const {
    return kernels::convnet_loss_graph(x, targets, parameters, shape, buffers);
  }
  /// What the graph's products should be, by autograd.
  kernels::LossProducts reference_products(at::ScalarType dtype = at::kDouble) const;
  double reference_loss() const;

  Orders fast() const { return orders(kernels::convnet_loss_gradients, at::kFloat); }
  Orders reference(at::ScalarType dtype = at::kDouble) const {
    return orders(kernels::convnet_loss_gradients_reference, dtype);
  }

 private:
  template <class Function>
  Orders orders(const Function& function, at::ScalarType dtype) const {
    const auto cast = [dtype](Tensors tensors) {
      for (Tensor& t : tensors) t = t.to(dtype);
      return tensors;
    };
    const Tensor images = leaf(x.to(dtype));
    const Tensor rows = leaf(targets.to(dtype));
    Orders result;
    result.first = function(images, rows, cast(parameters), shape, cast(buffers));
    result.second = torch::autograd::grad(result.first, {images, rows}, cast(directions));
    for (Tensor& g : result.first) g = g.detach();
    return result;
  }
};

/// Both orders, tensor by tensor.
void check_orders(const Problem& p, const Problem::Orders& found, const Problem::Orders& wanted);

}  // namespace retort::testing
