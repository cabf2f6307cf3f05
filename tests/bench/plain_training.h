#pragma once
// The opponent's training step and epoch.

#include <cstdint>

#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "tests/bench/plain_convnet.h"

namespace retort::bench {

struct PlainGradient {
  double loss = 0;    ///< mean cross-entropy
  Tensors gradients;  ///< in the order of the parameters
};

/// Of one mini-batch.  @param labels int64 [N]
PlainGradient plain_gradient(Style style, const nn::Network& like, const nn::NetworkState& state,
                             const Tensor& images, const Tensor& labels, double relu_threshold = 0);

/// Images, hard labels and the recipe of one evaluation network.
struct PlainTraining {
  Tensor images;  ///< [N,C,H,W], dtype of the parameters
  Tensor labels;  ///< int64 [N]
  augment::Strategy augmentation;
  std::int64_t batch_size = 256;
  double lr = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  double relu_threshold = 0;
};

/// One epoch with a new optimiser, updating `state`. @return mean loss
double plain_epoch(Style style, const PlainTraining& training, const nn::Network& like,
                   nn::NetworkState& state, const Rng& rng);

}  // namespace retort::bench
