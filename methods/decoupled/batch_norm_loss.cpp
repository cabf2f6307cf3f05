#include "methods/decoupled/batch_norm_loss.h"

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::methods::decoupled {
namespace {

void expect_matching(const std::vector<nn::BatchStatistics>& statistics, const Tensors& running) {
  if (statistics.empty()) {
    throw ConfigError(
        "the statistics of BatchNorm layers are matched, and there are none: take a network that "
        "has such layers, as ConvNet-3-BN or R18m");
  }
  if (running.size() == 2 * statistics.size()) return;
  throw ConfigError(str("statistics of ", statistics.size(), " BatchNorm layers need ",
                        2 * statistics.size(), " running ones, found ", running.size()));
}

/// Sum over groups of |batch - running|_2 over channels.  @param batch [C] or [G,C]
Tensor distance(const Tensor& batch, const Tensor& running) {
  // LibTorch takes 0 for the gradient of a norm at 0, which has none.
  return (batch - running).norm(2, {-1}).sum();
}

}  // namespace

Tensor batch_norm_distances(const std::vector<nn::BatchStatistics>& statistics,
                            const Tensors& running) {
  expect_matching(statistics, running);
  Tensors distances;
  for (std::size_t l = 0; l < statistics.size(); ++l) {
    distances.push_back(distance(statistics[l].variance, running[2 * l + 1]) +
                        distance(statistics[l].mean, running[2 * l]));
  }
  return at::stack(distances);
}

Tensor batch_norm_loss(const std::vector<nn::BatchStatistics>& statistics, const Tensors& running,
                       double first_layer_factor) {
  const Tensor distances = batch_norm_distances(statistics, running);
  return first_layer_factor * distances[0] + distances.slice(0, 1).sum();
}

}  // namespace retort::methods::decoupled
