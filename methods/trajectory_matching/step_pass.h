#pragma once

#include <memory>
#include <vector>

#include "lib/augment/augment.h"
#include "lib/nn/network.h"
#include "methods/trajectory_matching/labels.h"

namespace retort::methods::trajectory_matching {

/// What all steps of a student share.
struct Student {
  const nn::Network& network;  ///< without BatchNorm: images of a batch are independent
  Tensor images;               ///< [M,C,H,W], dtype of the parameters
  InnerLabels labels;          ///< of the images
  augment::Strategy strategy;
  bool mirrored = false;   ///< every batch gets its mirror images, before augmentation (FYI)
  double loss_factor = 1;  ///< of the mean cross-entropy
};

/// Which images one step trains on, and how they are augmented.
struct InnerStep {
  Tensor rows;         ///< int64 [b], on the CPU
  augment::Draw draw;  ///< parameters of the b images, or of 2b when mirrored
};

/// One step at fixed parameters theta: the gradient g of its loss, and the derivatives of <u, g>
/// for a direction u.
///
/// The batch may be cut into pieces, computed one after the other: since <u, g> is linear in the
/// losses of the images, the cut is exact, and only the piece at work needs memory. The network
/// shares out a piece's images to threads (our kernels to 8 at most, 2 below 96 images), whose
/// number changes no bit.
class StepPass {
 public:
  /// @param theta [P]  @param micro_batch images of a piece; 0: all
  StepPass(const Student& student, const Tensor& theta, const InnerStep& step,
           std::int64_t micro_batch);

  /// @param keep holds on to what products() would compute again
  /// @return [P]
  Tensor gradient(bool keep);

  struct Products {
    double along = 0;   ///< <u, g>
    Tensor images;      ///< [b,C,H,W], before mirroring and augmentation
    Tensor labels;      ///< [b,K], of the stored labels; undefined unless wanted
    Tensor parameters;  ///< [P], H u; undefined unless wanted
  };
  /// At most once.  @param direction [P]
  Products products(const Tensor& direction, const nn::WantedProducts& wanted);

  /// What gradient(true) holds beside the set, known once it was called.
  std::int64_t graph_bytes() const;

 private:
  struct Piece {
    std::int64_t first = 0;
    std::int64_t count = 0;
    std::int64_t bytes = 0;  ///< of the graph
    std::unique_ptr<nn::LossGraph> graph = nullptr;
  };

  void make_batch(const InnerStep& step);
  std::unique_ptr<nn::LossGraph> graph_of(const Piece& piece, nn::LossUse use) const;
  /// The share of the step's loss that is a piece's mean.
  double share(const Piece& piece) const;
  /// From images as the network sees them back to those that were chosen.
  Tensor pulled_back(const Tensor& gradient) const;
  /// From targets of all images of the pass, mirrored ones too, to the labels of those chosen.
  Tensor label_gradient(const Tensor& of_targets) const;

  const Student& student_;
  Tensor theta_;      ///< [P]
  Tensor rows_;       ///< where the images are
  Tensor chosen_;     ///< [b,C,H,W], a leaf
  Tensor augmented_;  ///< [n,C,H,W], carries the graph to `chosen_`
  Tensor targets_;    ///< [n,K]
  std::vector<Piece> pieces_;
};

}  // namespace retort::methods::trajectory_matching
