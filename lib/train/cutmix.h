#pragma once
// CutMix (Yun et al. 2019) as Kim et al. 2022 use it: one box per mini-batch, labels mixed by the
// area that was really replaced.

#include <cstdint>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"

namespace retort::train {

/// One drawn mix of a batch with a permutation of itself.
struct CutMix {
  Tensor partner;                 ///< int64 [N]: row i receives pixels of row partner[i]
  std::int64_t row = 0, col = 0;  ///< upper left corner of the box
  std::int64_t height = 0, width = 0;
  double kept = 1;  ///< share of the image that stays: weight of its own label
};

/// Box of area share 1 - lambda, lambda ~ Beta(1,1), around a uniform centre, clipped to the image.
CutMix draw_cutmix(std::int64_t count, std::int64_t height, std::int64_t width, Rng& rng);

/// @param images [N,C,H,W]  @return a new tensor with the box taken from each row's partner
Tensor mix_images(const CutMix& mix, const Tensor& images);

/// @param targets [N,K] probabilities  @return kept * own + (1 - kept) * partner's
Tensor mix_targets(const CutMix& mix, const Tensor& targets);

}  // namespace retort::train
