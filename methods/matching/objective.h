#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::methods::matching {

/// What an objective compares for one class: images as the network sees them.
struct ClassPair {
  std::int64_t class_index = 0;
  Tensor real;       ///< [B,C,H,W], no graph
  Tensor synthetic;  ///< [n,C,H,W], carries the graph to the stored images
};

/// The network to look through.
struct Lens {
  const nn::Network& network;
  const nn::NetworkState& state;
};

struct Loss {
  Tensor total;  ///< scalar with graph: the sum over the classes given
  std::vector<std::pair<std::string, double>> parts;  ///< additive, same names in every call
};

/// A loss between real and synthetic images in a given network, training mode. Knows no optimiser.
/// Where the network treats images one by one (nn::Network::per_sample) the loss of several
/// classes is the sum of their losses, and callers may ask class by class; with training-mode
/// BatchNorm all classes must be given at once, since they share statistics.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual Loss loss(const Lens& lens, const std::vector<ClassPair>& classes) const = 0;
};

/// Rows of each class joined, and how many there are: the synthetic or the real half of `classes`.
struct Joined {
  Tensor images;
  std::vector<std::int64_t> counts;
};
Joined join_real(const std::vector<ClassPair>& classes);
Joined join_synthetic(const std::vector<ClassPair>& classes);

/// Means over each class's rows.  @param rows [sum(counts),D]  @return [classes,D]
Tensor class_means(const Tensor& rows, const std::vector<std::int64_t>& counts);

}  // namespace retort::methods::matching
