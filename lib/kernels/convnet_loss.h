#pragma once
// A ConvNet with a classifier and a mean cross-entropy behind it, to second order and without a
// graph; not for use outside this folder.

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/convnet_plan.h"
#include "lib/kernels/loss_graph.h"

namespace retort::kernels {

/// Parameters, or directions of them: those of the blocks, and the classifier behind them.
struct ConvNetParameters {
  Tensors blocks;
  Tensor weight, bias;

  /// Detached and contiguous.
  explicit ConvNetParameters(at::TensorList all);
};

/// Loss and gradients are computed when it is made. Shares x, targets and parameters.
class ConvNetLoss {
 public:
  /// @param x,targets,parameters,buffers  as of convnet_loss_gradients, which must be served
  /// @param parts     that sums over images are kept in: the same number, the same bits
  ConvNetLoss(const Tensor& x, const Tensor& targets, at::TensorList parameters,
              const ConvNetShape& shape, const Tensors& buffers, std::int64_t parts, LossUse use);

  double loss() const { return loss_; }
  const Tensors& gradients() const { return gradients_; }
  /// For whoever must not be held by what it returns.
  Tensors take_gradients() { return std::move(gradients_); }
  /// Any number of times.
  LossProducts products(const Tensors& directions, const WantedProducts& wanted) const;
  /// Held by this, without what it shares.
  std::int64_t bytes() const;

 private:
  /// Forward and backward. @return [N], every image's loss
  Tensor run(LossUse use);
  Tensor classify(std::int64_t first, const Tensor& features, const Tensor& losses) const;

  Tensor x_, targets_;
  ConvNetParameters parameters_;
  std::int64_t parts_;
  std::unique_ptr<ConvNetPlan> plan_;
  std::vector<SavedBlock> blocks_;
  Tensor features_;       // [N,F]
  Tensor probabilities_;  // [N,K]
  Tensor cotangent_;      // [N,K] of the logits
  Tensors gradients_;
  double loss_ = 0;
  Tensors shared_;  // what it was given
};

}  // namespace retort::kernels
