#pragma once
// What recovered images are moved by: a committee's cross-entropy and statistics of BatchNorm, and
// priors of images, seen through one view.

#include <cstdint>
#include <vector>

#include "lib/augment/views.h"
#include "lib/core/tensor.h"
#include "lib/nn/network.h"
#include "methods/decoupled/batch_norm_loss.h"

namespace retort::methods::decoupled {

/// One teacher of those that a batch is recovered from.
struct Voter {
  const nn::Network& network;
  const nn::NetworkState& state;
  /// Mean and variance [C_l] per BatchNorm layer that the batch shall have: the running ones, or
  /// those of a class.
  Tensors statistics;
  double weight = 1;
};

struct LossWeights {
  double batch_norm = 0;  ///< r_bn; 0: networks may be without BatchNorm
  double first_layer = kFirstLayerFactor;
  double tv = 0;
  double l2 = 0;
};

/// Values of a step's losses, priors weighed.
struct RecoverLoss {
  double total = 0;
  double cross_entropy = 0;  ///< of the voters by their weights
  double batch_norm = 0;     ///< likewise, without r_bn
  double prior = 0;
};

/// What moves, and what networks see of it.
struct Recovered {
  Tensor values;       ///< [B,C,H,W] pixels, or [1,C,H,W] what is added to `frozen`
  Tensor frozen = {};  ///< [B,C,H,W]; undefined: the values are the images
  Tensor classes;      ///< int64 [B]
};

struct RecoverGradient {
  Tensor values;  ///< shaped like Recovered::values
  RecoverLoss loss;
};

/// Gradient of  sum_m w_m (CE_m + r_bn R_m) + tv TV + l2 L2  of one view of the images.
/// @param mirrored the images and then their mirror images are viewed together (FYI: Son et al.
///        2024), with the classes twice and statistics over all
RecoverGradient recover_gradient(const Recovered& batch, const augment::SharedView& view,
                                 bool mirrored, const std::vector<Voter>& voters,
                                 const LossWeights& weights);

}  // namespace retort::methods::decoupled
