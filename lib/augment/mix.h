#pragma once
// Mixing a batch with a permutation of itself, one draw for all: CutMix (Yun et al. 2019) and MixUp
// (Zhang et al. 2018) as FKD records them. Labels come from a teacher that sees the mixed images.

#include <cstdint>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/data/recorded_views.h"

namespace retort::augment {

/// The box of area share 1 - lambda around a centre, clipped to the image. The reference truncates
/// twice: the side to whole pixels, then its half.
data::PixelBox cutmix_box(double lambda, std::int64_t center_row, std::int64_t center_col,
                          data::ImageSize image);

/// Beta(alpha, alpha) in 0 .. 1. @param alpha in 0 (exclusive) .. 1 @throws ConfigError
double draw_symmetric_beta(double alpha, Rng& rng);

/// CutMix draws lambda ~ Beta(1,1), MixUp Beta(0.8,0.8), rounded to float32. From the children
/// "lambda", "partner" and "center" of `rng`.
/// @param image size of what is mixed
data::Mix draw_mix(data::Mix::Kind kind, std::int64_t count, data::ImageSize image, const Rng& rng);

/// CutMix: the box comes from the partner; MixUp: lambda * own + (1 - lambda) * partner's.
/// @param images [N,C,H,W]  @return a new tensor; `images` itself for None
/// @throws ConfigError for another batch size, or a box outside of the images
Tensor apply_mix(const data::Mix& mix, const Tensor& images);

/// @param images [N,C,H,W] @param partner int64 [N]
/// @return a new tensor, with the box of image partner[i] in image i
Tensor paste_partners(const Tensor& images, const Tensor& partner, const data::PixelBox& box);

}  // namespace retort::augment
