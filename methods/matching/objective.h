#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"
#include "methods/prediction.h"

namespace retort::methods::matching {

/// What an objective compares for one class: images as the network sees them.
struct ClassPair {
  std::int64_t class_index = 0;
  Tensor real;       ///< [B,C,H,W], no graph
  Tensor synthetic;  ///< [n,C,H,W], carries the graph to the stored images
  /// What Objective::real_half gave for `real` in this network; `real` is then not looked at and
  /// may be undefined. Empty: not computed yet.
  Tensors real_half = {};
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

/// Work of one loss and its gradient, in forward passes per image of either half.
struct LossCost {
  double real = 1;
  double synthetic = 2;  ///< forward and input gradient
  Pass real_pass = Pass::Fused;
  Pass synthetic_pass = Pass::Fused;
};

/// A loss between real and synthetic images in a given network. Knows no optimiser.
/// The loss of several classes is the sum of their losses, and callers may ask class by class,
/// except where joint() says that classes share something.
class Objective {
 public:
  virtual ~Objective() = default;
  /// @throws ConfigError if the loss has no meaning in this network
  virtual void check(const nn::Network&) const {}
  virtual LossCost cost() const { return {}; }
  /// True if all classes must be given at once: they share the statistics of training-mode
  /// BatchNorm.
  virtual bool joint(const nn::Network& network) const {
    return !network.per_sample(nn::Mode::Train);
  }
  /// Fewest real images per class that the loss can do with.
  virtual std::int64_t least_real() const { return 1; }
  /// True if BatchNorm looks through its running statistics, which callers then refresh on real
  /// images before every use.
  virtual bool uses_running_statistics() const { return false; }
  /// What the loss needs of the real images of one class, without a graph, for callers that meet
  /// the same images in the same network again. Empty for objectives that cannot be cut so.
  virtual Tensors real_half(const Lens&, std::int64_t /*class_index*/,
                            const Tensor& /*real*/) const {
    return {};
  }
  virtual Loss loss(const Lens& lens, const std::vector<ClassPair>& classes) const = 0;
};

/// Rows of each class joined, and how many there are: the synthetic or the real half of `classes`.
struct Joined {
  Tensor images;  ///< [sum(counts),C,H,W]
  std::vector<std::int64_t> counts;
};
Joined join_real(const std::vector<ClassPair>& classes);
Joined join_synthetic(const std::vector<ClassPair>& classes);

/// Means over each class's rows.  @param rows [sum(counts),D]  @return [classes,D]
Tensor class_means(const Tensor& rows, const std::vector<std::int64_t>& counts);

/// Features of both halves, cut into classes.
struct FeaturePair {
  Tensor real;  ///< [sum(real_counts),D], no graph
  std::vector<std::int64_t> real_counts;
  Tensor synthetic;  ///< [sum(synthetic_counts),D]
  std::vector<std::int64_t> synthetic_counts;
};

/// Sum over classes of the squared distance between the means of both halves.  @return scalar
Tensor distance_of_means(const FeaturePair& features);

}  // namespace retort::methods::matching
