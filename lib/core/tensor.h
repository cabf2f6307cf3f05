#pragma once
// The cheap way to pass tensors through an interface: several times faster to compile than
// <torch/types.h>, which sources get from the precompiled header.

#include <vector>

#include <ATen/core/Tensor.h>

namespace retort {

using Tensor = at::Tensor;
using Tensors = std::vector<at::Tensor>;

}  // namespace retort
