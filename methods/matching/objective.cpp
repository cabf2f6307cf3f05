#include "methods/matching/objective.h"

namespace retort::methods::matching {
namespace {

Joined join(const std::vector<ClassPair>& classes, Tensor ClassPair::*half) {
  Joined joined;
  Tensors parts;
  for (const ClassPair& pair : classes) {
    parts.push_back(pair.*half);
    joined.counts.push_back((pair.*half).size(0));
  }
  joined.images = parts.size() == 1 ? parts[0] : at::cat(parts);
  return joined;
}

}  // namespace

Joined join_real(const std::vector<ClassPair>& classes) { return join(classes, &ClassPair::real); }

Joined join_synthetic(const std::vector<ClassPair>& classes) {
  return join(classes, &ClassPair::synthetic);
}

Tensor class_means(const Tensor& rows, const std::vector<std::int64_t>& counts) {
  Tensors means;
  for (const Tensor& part : rows.split_with_sizes(counts)) means.push_back(part.mean(0));
  return at::stack(means);
}

Tensor distance_of_means(const FeaturePair& features) {
  return (class_means(features.real, features.real_counts) -
          class_means(features.synthetic, features.synthetic_counts))
      .square()
      .sum();
}

}  // namespace retort::methods::matching
