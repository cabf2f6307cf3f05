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

/// One parameter's share of the distance, for metrics that add up over parameters.
Tensor parameter_distance(const Tensor& g, const Tensor& h, Metric metric) {
  switch (metric) {
    case Metric::Rows:
      return row_distance(g.flatten(1), h.flatten(1));
    case Metric::Squared:
      return (g - h).square().sum();
    case Metric::Absolute:
      return (g - h).abs().sum();
    case Metric::AbsoluteMean:
      return (g - h).abs().reshape({g.size(0), -1}).mean(1).sum();
    case Metric::Cosine:
      break;
  }
  throw Error("the cosine of everything has no share of one parameter");
}

bool looked_at(const Tensor& gradient, Metric metric, Scope scope) {
  if (scope == Scope::Convolutions && gradient.dim() <= 2) return false;
  return metric != Metric::Rows || gradient.dim() >= 2;
}

}  // namespace

Metric parse_metric(const std::string& text) {
  if (text == "rows") return Metric::Rows;
  if (text == "cos") return Metric::Cosine;
  if (text == "mse") return Metric::Squared;
  if (text == "l1") return Metric::Absolute;
  if (text == "l1-mean") return Metric::AbsoluteMean;
  throw ConfigError(
      unknown_name_message("gradient metric", text, {"rows", "cos", "mse", "l1", "l1-mean"}));
}

Tensor gradient_distance(const Tensors& real, const Tensors& synthetic, Metric metric,
                         Scope scope) {
  Tensors g;
  Tensors h;
  for (std::size_t i = 0; i < real.size(); ++i) {
    if (!looked_at(real[i], metric, scope)) continue;
    g.push_back(real[i]);
    h.push_back(synthetic[i]);
  }
  if (g.empty()) {
    throw ConfigError("gradient matching: the network has no parameters of the kind to be matched");
  }
  if (metric == Metric::Cosine) {
    return row_distance(concatenated(g).unsqueeze(0), concatenated(h).unsqueeze(0));
  }
  Tensor sum = parameter_distance(g[0], h[0], metric);
  for (std::size_t i = 1; i < g.size(); ++i) sum = sum + parameter_distance(g[i], h[i], metric);
  return sum;
}

}  // namespace retort::methods::gradient_matching
