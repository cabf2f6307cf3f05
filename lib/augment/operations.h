#pragma once
// The six operations behind augment::apply. Each has a fast path for parameters that all samples
// share, and leaves the images alone where its parameters make it the identity.

#include <cstdint>

#include "lib/augment/augment.h"
#include "lib/core/tensor.h"

namespace retort::augment {

/// floor(ratio * side + 0.5): sides of crops and cutouts.
std::int64_t rounded_share(std::int64_t side, double ratio);

/// @param x [N,C,H,W] floating
/// @throws ConfigError if the draw holds neither one nor N values for `op`
Tensor apply_operation(const Strategy& strategy, const Draw& draw, Operation op, const Tensor& x);

}  // namespace retort::augment
