#pragma once
// Trust in a device's kernels is earned anew in every process: each is run once on small tensors
// and compared with LibTorch's own operations on that device.

#include "lib/core/tensor.h"
#include "lib/kernels/cuda_module.h"

namespace retort::kernels {

/// The backend without the functions that are wrong on `device`: null where the result is further
/// from LibTorch's in float64 than cuda_tests allows on the host (2e-6 of the largest entry for a
/// block, 1e-5 for its gradient, 5e-6 for augmentation, 1e-6 for steps), or where the function
/// throws. Each of these is named in a warning, with what was found and what is right.
/// Takes the same small random tensors always; functions that are null already stay null.
CudaBackend self_checked(const CudaBackend& backend, at::Device device);

}  // namespace retort::kernels
