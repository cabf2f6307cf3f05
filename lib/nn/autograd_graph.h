#pragma once
// LossGraph on LibTorch's autograd, for every network and type. Internal to lib/nn.

#include <cstdint>
#include <vector>

#include "lib/nn/network.h"

namespace retort::nn {

/// On the CPU in chunks of images that run several at once, each on one thread, as train's
/// batch_gradient: more stays in cache, and the bits depend on the number of images alone.
class AutogradGraph : public LossGraph {
 public:
  /// @param state BatchNorm's running statistics are copied
  AutogradGraph(const Network& network, const NetworkState& state, const Tensor& x,
                const Tensor& targets, LossUse use);

  double loss() const override { return loss_; }
  const Tensors& gradients() const override { return gradients_; }
  /// The sizes of all results of the operations that LibTorch recorded: a little more than it
  /// keeps, since some of them share memory and some are not needed again.
  std::int64_t bytes() const override { return bytes_; }
  LossProducts products(const Tensors& directions, const WantedProducts& wanted) override;

 private:
  /// Images that share nothing with the others but the parameters, and their share of the
  /// gradients.
  struct Chunk {
    Tensor x, targets;  // leaves
    Tensors parameters;
    Tensors gradients;  // with their graph, if it is for the products
    double loss = 0;
  };

  Chunk make_chunk(const Network& network, const NetworkState& state, const Tensor& x,
                   const Tensor& targets, std::int64_t images, bool products) const;
  LossProducts chunk_products(const Chunk& chunk, const Tensors& directions,
                              const WantedProducts& wanted) const;

  std::vector<Chunk> chunks_;
  Tensors gradients_;
  double loss_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace retort::nn
