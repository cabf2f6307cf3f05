#pragma once
// The operations of Siamese augmentation by a device's kernels, as differentiable functions. Each
// is linear in the images but for a shift of the colours, and its transpose is a kernel too, so all
// orders of differentiation run on kernels.

#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/cuda/augment.h"
#include "lib/kernels/cuda_module.h"

namespace retort::kernels {

/// @param backend what device_backend_for gave for this operation and `x`
/// @param x [N,C,H,W]  @param parameters of all images, or one for each
Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::ColorParameters> parameters);
Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::CropParameters> parameters);
Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::CutoutParameters> parameters);
Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::FlipParameters> parameters);
Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::ResampleParameters> parameters);

}  // namespace retort::kernels
