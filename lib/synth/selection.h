#pragma once
// Choosing real images: coresets and initialisations. All per class, Euclidean distance.

#include <cstdint>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"

namespace retort::synth {

/// Herding (Welling 2009, as used by the coreset baselines): picks the unused i that minimises
/// ||(k+1) mu - sum - f_i||.  @param features [N,D]  @return n positions in order of choice
std::vector<std::int64_t> herding(const Tensor& features, std::int64_t n);

/// Greedy k-center (Sener and Savarese 2018): first the image nearest to the mean, then always the
/// one farthest from its nearest centre.
std::vector<std::int64_t> k_center(const Tensor& features, std::int64_t n);

struct KMeansResult {
  Tensor centroids;                      ///< [n,D]
  std::vector<std::int64_t> nearest;     ///< per centroid the nearest row, all different
  std::vector<std::int64_t> assignment;  ///< [N] cluster of each row
};
/// k-means++ seeding, Lloyd until nothing moves or `max_iterations`; an empty cluster takes the row
/// farthest from its centroid.
KMeansResult k_means(const Tensor& features, std::int64_t n, Rng rng,
                     std::int64_t max_iterations = 100);

}  // namespace retort::synth
