#pragma once
// The device side of this folder for sources without CUDA: every call queues its kernels on the
// stream and throws std::runtime_error, naming the kernel, when a launch is refused. All pointers
// are device memory.

#include <string>

#include "lib/kernels/cuda/augment.h"
#include "lib/kernels/cuda/norm_relu_pool.h"
#include "lib/kernels/cuda/optimizer.h"

struct CUstream_st;  // CUDA's own name for what a cudaStream_t points to

namespace retort::kernels::cuda {

using Stream = CUstream_st*;

void launch(const NormReluPool& task, Stream stream);
void launch(const NormReluPoolGradient& task, Stream stream);
/// @param means [N] scratch
void launch(const Augmentation<ColorParameters>& task, float* means, Stream stream);
void launch(const Augmentation<CropParameters>& task, Stream stream);
void launch(const Augmentation<CutoutParameters>& task, Stream stream);
void launch(const Augmentation<FlipParameters>& task, Stream stream);
void launch(const Augmentation<ResampleParameters>& task, Stream stream);
void launch_gradient(const Augmentation<ResampleParameters>& task, Stream stream);
void launch(const SgdStep& step, Stream stream);
void launch(const AdamStep& step, Stream stream);

/// Devices that CUDA can use here, and why there are none.
struct DeviceCount {
  int count = 0;
  std::string reason;  ///< empty if count > 0
};
DeviceCount count_devices();

}  // namespace retort::kernels::cuda
