#include "tests/support/gradient_check.h"

#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "tests/support/catch.h"

namespace retort::testing {
namespace {

Tensor random_like(const Tensor& x, std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(x.sizes(), generator, x.options().requires_grad(false));
}

}  // namespace

double direction_error(const std::function<Tensor(const Tensor&)>& f, const Tensor& x_in, double h) {
  const at::AutoGradMode gradients(true);
  const Tensor x = x_in.detach().to(at::kDouble).clone().requires_grad_();
  const Tensor y = f(x);
  const Tensor v = random_like(y.detach(), 1);
  const Tensor u = random_like(x.detach(), 2);
  const double exact = (torch::autograd::grad({y}, {x}, {v})[0] * u).sum().item<double>();
  const auto value = [&](double t) {
    return (f((x.detach() + t * u).requires_grad_()).detach() * v).sum().item<double>();
  };
  const double numeric = (value(h) - value(-h)) / (2 * h);
  return std::abs(exact - numeric) / std::max(1e-3, std::abs(numeric));
}

double second_direction_error(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                              double h) {
  const auto gradient = [&](const Tensor& at_x) {
    const Tensor y = f(at_x);
    const Tensor v = random_like(y.detach(), 3);
    return torch::autograd::grad({y}, {at_x}, {v}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  };
  return direction_error(gradient, x, h);
}

Comparison compare(const Tensor& actual_in, const Tensor& expected_in) {
  Comparison result;
  if (!actual_in.defined() || !expected_in.defined() || actual_in.sizes() != expected_in.sizes()) {
    result.error = std::numeric_limits<double>::infinity();
    std::ostringstream text;
    text << "shapes differ: ";
    if (actual_in.defined()) text << actual_in.sizes(); else text << "undefined";
    text << " against expected ";
    if (expected_in.defined()) text << expected_in.sizes(); else text << "undefined";
    result.text = text.str();
    return result;
  }
  if (expected_in.numel() == 0) return result;
  const Tensor actual = actual_in.detach().to(at::kDouble).reshape(-1);
  const Tensor expected = expected_in.detach().to(at::kDouble).reshape(-1);
  double scale = expected.abs().max().item<double>();
  if (scale == 0) scale = 1;
  const Tensor difference = (actual - expected).abs();
  const Tensor safe = difference.nan_to_num(std::numeric_limits<double>::infinity());
  const auto worst = safe.argmax().item<std::int64_t>();
  result.error = safe[worst].item<double>() / scale;
  std::ostringstream text;
  text << "worst at flat index " << worst << " of " << expected_in.sizes() << ": "
       << actual[worst].item<double>() << " against expected " << expected[worst].item<double>()
       << ", relative to the largest entry " << result.error;
  result.text = text.str();
  return result;
}

}  // namespace retort::testing
