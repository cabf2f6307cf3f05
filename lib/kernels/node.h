#pragma once
// One kind of node of the autograd graph for all kernels, so that LibTorch's templates for it,
// which take a compiler nine seconds, are compiled once; not for use outside this folder.

#include <functional>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::kernels {

/// What a backward pass is given.
struct BackwardPass {
  Tensors saved;      ///< as they were returned by the forward pass
  Tensors gradients;  ///< one per output, one at least; undefined where nothing depends on it
  std::vector<bool> needed;  ///< per input
};

/// What a forward pass leaves behind.
struct Recorded {
  Tensors outputs;
  Tensors saved;  ///< inputs among them keep their graph
  /// @return one gradient per input; undefined or missing at the end: zero. Called with gradients
  ///         on when its result shall be differentiable itself.
  std::function<Tensors(const BackwardPass&)> backward;
};

/// Runs `forward` without a graph and records it as one node.
/// @param inputs what the outputs depend on and may be differentiated in
Tensors record(const Tensors& inputs, const std::function<Recorded()>& forward);

}  // namespace retort::kernels
