#include "methods/gradient_matching/gradient_distance.h"

#include "lib/core/error.h"
#include "lib/core/names.h"

namespace retort::methods::gradient_matching {
namespace {

constexpr double kEpsilon = 1e-6;

/// Sum over rows of 1 - cosine.  @param g,h [rows,D]
Tensor row_distance(const Tensor& g, const Tensor& h) {
  const Tensor product = (g * h).sum(1);
  const Tensor norms = g.norm(2, {1}, false) * h.norm(2, {1}, false);
  return (1 - product / (norms + kEpsilon)).sum();
}

Tensor concatenated(const Tensors& tensors) {
  Tensors flat;
  for (const Tensor& t : tensors) flat.push_back(t.reshape(-1));
  return at::cat(flat);
}

}  // namespace

Metric parse_metric(const std::string& text) {
  if (text == "rows") return Metric::Rows;
  if (text == "cos") return Metric::Cosine;
  if (text == "mse") return Metric::Squared;
  throw ConfigError(unknown_name_message("gradient metric", text, {"rows", "cos", "mse"}));
}

Tensor gradient_distance(const Tensors& real, const Tensors& synthetic, Metric metric) {
  if (metric == Metric::Squared) {
    return (concatenated(real) - concatenated(synthetic)).square().sum();
  }
  if (metric == Metric::Cosine) {
    return row_distance(concatenated(real).unsqueeze(0), concatenated(synthetic).unsqueeze(0));
  }
  Tensor sum = at::zeros({}, real[0].options());
  for (std::size_t i = 0; i < real.size(); ++i) {
    if (real[i].dim() < 2) continue;
    sum = sum + row_distance(real[i].flatten(1), synthetic[i].flatten(1));
  }
  return sum;
}

}  // namespace retort::methods::gradient_matching
