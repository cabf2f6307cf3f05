#pragma once
// What natural images have in common, as losses of SRe2L's released code (Yin et al. 2023). No
// published run weighs them.

#include "lib/core/tensor.h"

namespace retort::methods::decoupled {

/// Total variation: Euclidean norms, over the whole batch, of the differences of neighbours to the
/// right, below, and on both diagonals, added up.
/// @param images [N,C,H,W]  @return scalar
Tensor total_variation(const Tensor& images);

/// Mean over images of their Euclidean norm.  @param images [N,C,H,W]  @return scalar
Tensor mean_norm(const Tensor& images);

}  // namespace retort::methods::decoupled
