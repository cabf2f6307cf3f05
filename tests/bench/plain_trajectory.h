#pragma once
// The opponent's trajectory matching (Cazenavette et al., CVPR 2022): all inner steps in one graph,
// as the papers' code has it.

#include <vector>

#include "lib/augment/augment.h"
#include "tests/bench/plain_convnet.h"

namespace retort::bench {

/// One matching iteration.
struct InnerRun {
  nn::NetworkState start;  ///< of the expert
  Tensors target;          ///< its parameters some epochs later
  Tensor images;           ///< [M,C,H,W]
  Tensor labels;           ///< int64 [M]
  Tensors batches = {};    ///< int64 rows of the images, per step
  augment::Strategy augmentation = {};
  std::vector<augment::Draw> draws = {};  ///< per step
  double lr = 0.01;                       ///< of the student

  std::int64_t steps() const { return std::int64_t(batches.size()); }
};

struct TrajectoryGradient {
  Tensor loss;    ///< scalar: squared distance to the target over that of the start
  Tensor images;  ///< [M,C,H,W]
  Tensor lr;      ///< scalar
};

/// @param relu_threshold see check.h
TrajectoryGradient plain_trajectory_gradient(const nn::Network& like, const InnerRun& run,
                                             double relu_threshold = 0);

}  // namespace retort::bench
