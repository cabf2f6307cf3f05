#include "tests/kernels/gradient_problem.h"

#include "lib/core/error.h"

namespace retort::testing {

std::ostream& operator<<(std::ostream& out, const Setting& s) {
  return out << s.c << (s.statistics == Statistics::Own ? "" : ", batch norm");
}

std::vector<Setting> under_norms(const ConvNetCase& c) {
  return {{c}, {with_groups(c)}, {c, Statistics::Given}};
}

std::vector<Setting> small_settings() {
  std::vector<Setting> settings = under_norms(kSmall);
  for (const std::int64_t groups : {1, 2}) settings.push_back({with_groups(kSmall, groups)});
  return settings;
}

bool amplifies_rounding(const Setting& s) {
  return s.statistics == Statistics::Own && ends_in_norm_of_four(s.c);
}

Tensors make_buffers(const ConvNetCase& c, Statistics statistics) {
  Tensors buffers;
  if (statistics == Statistics::Own) return buffers;
  for (std::int64_t b = 0; b < c.shape.depth; ++b) {
    buffers.push_back(normal("mean" + std::to_string(b), {c.width}) * 2 + 0.5);
    buffers.push_back(normal("variance" + std::to_string(b), {c.width}).square() * 3 + 0.3);
  }
  return buffers;
}

Tensors to_double(Tensors tensors) {
  for (Tensor& t : tensors) t = t.to(at::kDouble);
  return tensors;
}

Tensors make_directions(const Tensors& parameters) {
  Tensors result;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    result.push_back(normal("v" + std::to_string(i), parameters[i].sizes()) * 0.1);
  }
  return result;
}

Tensors combined(double p, const Tensors& a, double q, const Tensors& b) {
  Tensors result;
  for (std::size_t i = 0; i < a.size(); ++i) result.push_back(p * a[i] + q * b[i]);
  return result;
}

kernels::LossProducts Problem::reference_products(at::ScalarType dtype) const {
  const auto cast = [dtype](Tensors tensors) {
    for (Tensor& t : tensors) t = t.to(dtype);
    return tensors;
  };
  Tensors inputs = {leaf(x.to(dtype)), leaf(targets.to(dtype))};
  for (const Tensor& t : parameters) inputs.push_back(leaf(t.to(dtype)));
  const Tensors gradients = kernels::convnet_loss_gradients_reference(
      inputs[0], inputs[1], std::span(inputs).subspan(2), shape, cast(buffers));
  const Tensors found = torch::autograd::grad(gradients, inputs, cast(directions));
  return {.along = 0,
          .images = found[0],
          .targets = found[1],
          .parameters = Tensors(found.begin() + 2, found.end())};
}

double Problem::reference_loss() const {
  const Tensors p = to_double(parameters);
  const Tensor features = kernels::convnet_outputs_reference(
                              x.to(at::kDouble), p, to_double(buffers),
                              {.shape = shape,
                               .norm = buffers.empty() ? kernels::ConvNetNorm::Instance
                                                       : kernels::ConvNetNorm::BatchEval})
                              .features;
  const Tensor logs = at::linear(features, p[p.size() - 2], p.back()).log_softmax(1);
  return -(targets.to(at::kDouble) * logs).sum().item<double>() / double(x.size(0));
}

void check_orders(const Problem& p, const Problem::Orders& found, const Problem::Orders& wanted) {
  REQUIRE(found.first.size() == wanted.first.size());
  for (std::size_t i = 0; i < found.first.size(); ++i) {
    INFO("gradient " << i);
    REQUIRE(found.first[i].sizes() == wanted.first[i].sizes());
    if (p.is_idle_bias(i)) {
      CHECK(found.first[i].abs().max().item<float>() == 0);
    } else {
      CHECK(distance(found.first[i], wanted.first[i]) < 1e-5);
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    INFO("second order, " << (i == 0 ? "images" : "targets"));
    CHECK(distance(found.second[i], wanted.second[i]) < 1e-5);
  }
}

}  // namespace retort::testing
