#pragma once
// What makes teachers smooth around real images, so that students of what is condensed from them
// bear small perturbations (Xue et al., AAAI 2025, GUARD; yumozi/GUARD, pretrain/).

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::train {

struct Curvature {
  enum class Kind {
    Full,       ///< how far the gradient of the images turns (pretrain_cifar.py)
    Simplified  ///< how far the loss moves (pretrain.py); no `lambda` there
  } kind = Kind::Full;
  double h = 3;         ///< length of the step, in preprocessed units
  double weight = 100;  ///< their lambda = 100 (full) or beta = 1e-4 (simplified)
};

struct CurvaturePenalty {
  double value = 0;   ///< weighted
  Tensors gradients;  ///< in the order of the parameters
};

/// Steps to where the loss is looked at a second time. With g_i the gradient of the batch's mean
/// cross-entropy in image i (so it carries 1/N):  z_i = h (g_i + 1e-7) / (||g_i|| + 1e-7)
/// @param images [N,C,H,W] @param targets [N,K] probabilities, on any device  @return [N,C,H,W]
Tensor curvature_steps(const nn::Network& network, const nn::NetworkState& state,
                       const Tensor& images, const Tensor& targets, double h);

/// With L the mean cross-entropy and BatchNorm on its running statistics throughout,
///   full        weight * mean_i || d/dx_i [ L(x + z) - L(x) ] ||
///   simplified  weight * | L(x + z) - L(x) |
/// and the gradient with respect to the parameters, z taken as constant. The batch is cut into
/// chunks by its size alone, so bits do not depend on the number of threads.
CurvaturePenalty curvature_penalty(const nn::Network& network, const nn::NetworkState& state,
                                   const Tensor& images, const Tensor& targets,
                                   const Curvature& curvature);

}  // namespace retort::train
