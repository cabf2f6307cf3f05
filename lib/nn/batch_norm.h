#pragma once
// BatchNorm in all its modes, and the statistics of what it reads. Internal to lib/nn.

#include "lib/core/tensor.h"
#include "lib/nn/layers.h"

namespace retort::nn {

/// What apply does for Norm::Batch.  @param x [N,C,h,w]
Tensor batch_norm(const Normalization& layer, const ForwardPass& pass, const Tensor& x);

}  // namespace retort::nn
