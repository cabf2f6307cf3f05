#pragma once
// What keeps the loss of AST's experts smooth in the images (Shen et al. 2023).

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::train {

struct GradientPenalty {
  double value = 0;
  Tensors gradients;  ///< in the order of the parameters
};

/// How far the gradient of the summed logits is from length one, pixel by pixel over the channels:
///   q = d/dx sum_nk logits_nk,   value = mean over n,h,w of (|| q[n,:,h,w] || - 1)^2
/// and its gradient with respect to the parameters, by a backward pass through q. In training mode,
/// but running statistics of BatchNorm stay as they are. Cut into chunks as batch_gradient is.
/// @param images [N,C,H,W]
GradientPenalty gradient_penalty(const nn::Network& network, const nn::NetworkState& state,
                                 const Tensor& images);

}  // namespace retort::train
