#pragma once

#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::methods::decoupled {

/// Weight of the first BatchNorm layer in SRe2L's released code, and in all that build on it.
constexpr double kFirstLayerFactor = 10;

/// How far a batch is, at the input of every BatchNorm layer, from what the network saw in
/// training:  R_l = |v - v_run|_2 + |mu - mu_run|_2, norms over channels that are not squared.
/// For groups of images R_l is the sum over the groups, as if each had passed alone.
/// @param statistics  mu and v, [C_l] or [G,C_l], as a forward pass of the network in evaluation
///                    mode kept them (ForwardOptions::batch_norm_statistics)
/// @param running     mu_run and v_run, [C_l] each, layer after layer: the network's buffers
/// @return [L]; differentiable in `statistics`, with gradient 0 where a norm is 0
/// @throws ConfigError if there is no layer, or running statistics are missing
Tensor batch_norm_distances(const std::vector<nn::BatchStatistics>& statistics,
                            const Tensors& running);

/// R = first_layer_factor R_1 + sum over l >= 2 of R_l   (Yin et al., NeurIPS 2023, after Yin et
/// al., CVPR 2020, with the released code's factor). No sum over images: R belongs to the batch.
/// @return scalar; see batch_norm_distances
Tensor batch_norm_loss(const std::vector<nn::BatchStatistics>& statistics, const Tensors& running,
                       double first_layer_factor = kFirstLayerFactor);

}  // namespace retort::methods::decoupled
