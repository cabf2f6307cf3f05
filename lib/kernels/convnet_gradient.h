#pragma once
// The gradient of a ConvNet's loss with respect to its parameters, as something that can itself be
// differentiated: the inner half of gradient matching, and a step of trajectory matching.

#include <memory>
#include <span>

#include "lib/core/tensor.h"
#include "lib/kernels/convnet_forward.h"
#include "lib/kernels/loss_graph.h"

namespace retort::kernels {

/// Whether the fused path serves this input: that of convnet_outputs does, the parameters are those
/// of the blocks followed by weight [K,F] and bias [K] of one linear classifier, and none of them
/// requires a gradient.
/// @param buffers as below
bool serves_convnet_loss_gradients(const Tensor& x, std::span<const Tensor> parameters,
                                   const ConvNetShape& shape, std::span<const Tensor> buffers = {});

/// Gradients of the mean cross-entropy  L = -1/N sum_nk targets_nk log softmax(logits)_nk  with
/// respect to every parameter. Goes to the reference where the fused path does not serve.
///
/// Differentiable once in x and targets. The cotangent v of the gradients is a direction of the
/// parameters, and what comes back is d/de of dL/dx and dL/dtargets at theta + e v (Pearlmutter
/// 1994): one pass forwards and one backwards with tangents, no graph. Under create_graph that pass
/// is the reference's.
/// @param x           [N,C,H,W]
/// @param targets     [N,K], dtype of x; rows need not sum to one
/// @param parameters  4 per block, then the classifier's 2
/// @param buffers     none: InstanceNorm, or GroupNorm where the shape has groups; else running
///                    mean and variance [O] of every block, which are read only: BatchNorm in
///                    evaluation
/// @return as many tensors, shaped like the parameters; where the norm takes every channel's mean
/// out, a convolution's bias has gradient zero
Tensors convnet_loss_gradients(const Tensor& x, const Tensor& targets,
                               std::span<const Tensor> parameters, const ConvNetShape& shape,
                               std::span<const Tensor> buffers = {});

/// The same gradients as an object, by the fused path, which must serve. All its products come out
/// of one pass forwards and one backwards with tangents. The batch is cut by N alone, so the bits
/// are the same on any number of threads and inside parallel_tasks.
std::unique_ptr<LossGraph> convnet_loss_graph(const Tensor& x, const Tensor& targets,
                                              std::span<const Tensor> parameters,
                                              const ConvNetShape& shape,
                                              std::span<const Tensor> buffers = {},
                                              LossUse use = {});

/// convnet_loss_gradients in plain LibTorch operations, any dtype, differentiable further in x,
/// targets and parameters: the reference.
Tensors convnet_loss_gradients_reference(const Tensor& x, const Tensor& targets,
                                         std::span<const Tensor> parameters,
                                         const ConvNetShape& shape,
                                         std::span<const Tensor> buffers = {});

}  // namespace retort::kernels
