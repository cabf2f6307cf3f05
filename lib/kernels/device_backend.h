#pragma once
// The one place that knows whether kernels of a device module (CudaBackend) serve a tensor. Without
// a backend, which is always so on processors, every question costs one branch.

#include "lib/core/tensor.h"
#include "lib/kernels/cuda_module.h"

namespace retort::kernels {

/// What callers ask for; each needs one or two functions of the backend.
enum class DeviceTask { Block, Color, Crop, Cutout, Flip, Resample, SgdStep, AdamStep };

/// From now on a copy of `backend` serves tensors on devices of this kind, in place of what was
/// installed before. Functions that are null are left out: LibTorch computes in their place. Not
/// while other threads compute.
void install_device_backend(const CudaBackend& backend, at::DeviceType kind);
void remove_device_backend();

/// Whether a backend is installed for the kind of device this tensor is on.
bool is_for_device(const Tensor& x);

/// The backend if it serves the task on these tensors, else nullptr: the policy says fast, nothing
/// the task needs is left out, and all tensors are on the device of the first, float32, strided and
/// not empty. Counts the answer as fast or fallback where is_for_device(first).
/// @param tensors of a block x [N,C,H,W] of at least 2x2 pixels and its parameters; of an
///        operation of augmentation the images; of a step what it writes, contiguous, then the
///        gradient, all of one shape
const CudaBackend* device_backend_for(DeviceTask task, at::TensorList tensors);

}  // namespace retort::kernels
