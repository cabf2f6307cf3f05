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
  double statistics_scale = 1;  ///< of its R beside its cross-entropy
};

struct LossWeights {
  double batch_norm = 0;  ///< r_bn; 0: networks may be without BatchNorm
  double first_layer = kFirstLayerFactor;
  double tv = 0;
  double l2 = 0;
};

/// R of a teacher for images as they are, without its scale.  @param images [B,C,H,W]
double statistics_distance(const Voter& voter, const Tensor& images, double first_layer);

/// Values of a step's losses, priors weighed.
struct RecoverLoss {
  double total = 0;
  double cross_entropy = 0;  ///< of the voters by their weights
  double batch_norm = 0;     ///< likewise, scaled, without r_bn
  double prior = 0;
};

/// What moves, and what networks see of it.
struct Recovered {
  Tensor values;       ///< [B,C,H,W] pixels, or [1,C,H,W] what is added to `frozen`
  Tensor frozen = {};  ///< [B,C,H,W]; undefined: the values are the images
  Tensor classes;      ///< int64 [B]
};

/// One part of a loss, and its gradient at what networks see.
struct RecoverTerm {
  Tensor gradient;
  RecoverLoss loss;
};

struct RecoverGradient {
  Tensor values;  ///< shaped like Recovered::values
  RecoverLoss loss;
};

/// A batch through the view of one iteration, and the way back to what moves:
///   sum_m w_m (CE_m + r_bn R_m) + tv TV + l2 L2
class SeenBatch {
 public:
  SeenBatch() = default;  ///< to be assigned
  /// @param mirrored the images and then their mirror images are viewed together (FYI: Son et al.
  ///        2024), with the classes twice and statistics over all
  SeenBatch(const Recovered& batch, const augment::SharedView& view, bool mirrored);

  /// w (CE + r_bn R) of one voter. Several may be asked at once, each on a thread of its own.
  RecoverTerm term_of(const Voter& voter, const LossWeights& weights) const;
  /// Of the terms, added in their order, and the priors of images. Once.
  RecoverGradient gradient(const std::vector<RecoverTerm>& terms, const LossWeights& weights) const;

 private:
  Tensor leaf_;    // what moves
  Tensor viewed_;  // carries the graph
  Tensor classes_;
};

/// The same with the voters one after the other: memory for the graph of one of them is enough.
RecoverGradient recover_gradient(const Recovered& batch, const augment::SharedView& view,
                                 bool mirrored, const std::vector<Voter>& voters,
                                 const LossWeights& weights);

}  // namespace retort::methods::decoupled
