#include "methods/divergence.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <variant>

#include "lib/core/str.h"

namespace retort::methods {

double largest_pixel(const data::Preprocessing& preprocessing) {
  if (preprocessing.kind() == data::Preprocessing::Kind::Zca) {
    return std::max(1.0, preprocessing.zca_matrices().whiten.norm(1, {0}).max().item<double>());
  }
  double largest = 1;
  for (std::size_t c = 0; c < preprocessing.mean().size(); ++c) {
    const double mean = preprocessing.mean()[c];
    // Black and white, whichever is further from the mean.
    largest = std::max(largest, std::max(mean, 1 - mean) / preprocessing.std()[c]);
  }
  return largest;
}

double divergence_limit(const data::Preprocessing& preprocessing) {
  return kDivergenceFactor * largest_pixel(preprocessing);
}

std::string divergence(const data::SyntheticSet& set, double limit, std::int64_t iterations) {
  const std::string after = str(" after ", iterations, " iterations");
  const auto largest = set.images.abs().max().item<double>();  // NaN, if there is one
  if (!std::isfinite(largest)) return "the synthetic images are not finite" + after;
  if (largest > limit) {
    return str("the synthetic images have diverged", after, ": the largest preprocessed value is ",
               largest, ", the limit ", limit, ", ", kDivergenceFactor,
               " times what real pixels can have");
  }
  for (const auto& [name, values] : set.parameters) {
    if (!values.isfinite().all().item<bool>()) return str("the ", name, " are not finite", after);
  }
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  if (soft != nullptr && !soft->values.isfinite().all().item<bool>()) {
    return "the labels are not finite" + after;
  }
  const double lr = set.learned_lr.value_or(0);
  return std::isfinite(lr) ? "" : str("the learned step size is ", lr, " at iteration ", iterations);
}

}  // namespace retort::methods
