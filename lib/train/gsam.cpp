#include "lib/train/gsam.h"

#include <cmath>

namespace retort::train {
namespace {

constexpr double kEps = 1e-12;  // where gradients vanish

double dot(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += at::sum(a[i] * b[i], at::kDouble).item<double>();
  return sum;
}

double length(const Tensors& a) { return std::sqrt(dot(a, a)); }

}  // namespace

Tensors gsam_perturbation(const Tensors& parameters, const Tensors& gradients, const Gsam& gsam) {
  if (!gsam.adaptive) {
    const double scale = gsam.rho / (length(gradients) + kEps);
    Tensors result;
    for (const Tensor& g : gradients) result.push_back(g * scale);
    return result;
  }
  Tensors relative;  // w g
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    relative.push_back(parameters[i] * gradients[i]);
  }
  const double scale = gsam.rho / (length(relative) + kEps);
  for (std::size_t i = 0; i < parameters.size(); ++i) relative[i].mul_(parameters[i]).mul_(scale);
  return relative;
}

Tensors gsam_direction(const Tensors& gradients, const Tensors& perturbed_gradients, double alpha) {
  const double size = length(gradients);
  const double perturbed_size = length(perturbed_gradients);
  const double cosine = dot(gradients, perturbed_gradients) / (size * perturbed_size + kEps);
  // g' - alpha (g - c ||g|| g'/||g'||), by what each of the two is multiplied with.
  const double scale = 1 + alpha * cosine * size / (perturbed_size + kEps);
  Tensors result;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    result.push_back((perturbed_gradients[i] * scale).sub_(gradients[i], alpha));
  }
  return result;
}

}  // namespace retort::train
