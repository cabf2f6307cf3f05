#include "methods/divergence.h"

#include <algorithm>
#include <cstddef>

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

}  // namespace retort::methods
