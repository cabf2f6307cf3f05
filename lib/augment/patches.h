#pragma once
// Mosaics taken apart again (RDED: Sun et al., CVPR 2024).

#include <cstdint>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"

namespace retort::augment {

/// Every image's `factor` columns of patches in an order of its own, then its rows: patches keep
/// their neighbours above and beside them or lose all of these. Where factor does not divide a
/// side, its first strips are one pixel larger.
/// @param images [N,C,H,W]  @param rng its children "columns" and "rows", and in them the image's
/// @return a new tensor; `images` itself for factor 1
/// @throws ConfigError for strips without a pixel
Tensor shuffle_patches(const Tensor& images, std::int64_t factor, const Rng& rng);

}  // namespace retort::augment
