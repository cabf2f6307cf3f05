#include "experiments/dd_ranking/scores.h"

#include <cmath>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::experiments::dd_ranking {

double score(double x) {
  // Differences of fractions may leave the range by rounding.
  if (!(std::abs(x) <= 1 + 1e-9)) {
    throw ConfigError(str("a score needs accuracies as fractions: expected a difference in -1 .. ",
                          "1, found ", x));
  }
  const double least = std::exp(-1.0);
  return 100 * (std::exp(x) - least) / (std::exp(1.0) - least);
}

double LabelAccuracies::score(double weight) const {
  return dd_ranking::score(weight * ior() - (1 - weight) * hlr());
}

double AugmentationAccuracies::score(double weight) const {
  return dd_ranking::score(weight * ior_augmented() + (1 - weight) * ior_plain());
}

}  // namespace retort::experiments::dd_ranking
