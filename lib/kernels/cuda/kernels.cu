#include <algorithm>
#include <cuda_runtime.h>
#include <stdexcept>
#include <string>

#include "lib/kernels/cuda/launchers.h"

namespace retort::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Every thread takes several indices beyond this; enough blocks for the largest device.
constexpr std::int64_t kMostBlocks = 1 << 16;

template <class Body>
__global__ void __launch_bounds__(kThreads) each_kernel(Body body, std::int64_t size) {
  const std::int64_t step = std::int64_t(gridDim.x) * kThreads;
  for (std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x; i < size; i += step) {
    body(i);
  }
}

// All lanes of a warp work on one row, so they leave the loop together.
template <class Body>
__global__ void __launch_bounds__(kThreads) rows_kernel(Body body, std::int64_t rows) {
  constexpr unsigned kAllLanes = 0xffffffffU;
  constexpr int kWarps = kThreads / kLanes;
  const int lane = int(threadIdx.x) % kLanes;
  const std::int64_t step = std::int64_t(gridDim.x) * kWarps;
  const std::int64_t first = std::int64_t(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  for (std::int64_t row = first; row < rows; row += step) {
    Sums sums = lane_sum(body, row, lane);
    for (int offset = kLanes / 2; offset > 0; offset /= 2) {
      const Sums other{__shfl_xor_sync(kAllLanes, sums.first, offset),
                       __shfl_xor_sync(kAllLanes, sums.second, offset)};
      sums = sums + other;
    }
    if (lane == 0) body.finish(row, sums);
  }
}

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA kernel '") + what +
                           "' was not launched: " + cudaGetErrorString(error));
}

class CudaGrid {
 public:
  CudaGrid(Stream stream, const char* name) : stream_(stream), name_(name) {}

  template <class Body>
  void each(const Body& body) const {
    const std::int64_t size = body.size();
    if (size == 0) return;
    each_kernel<<<blocks(size, kThreads), kThreads, 0, stream_>>>(body, size);
    check(cudaGetLastError(), name_);
  }

  template <class Body>
  void rows(const Body& body) const {
    const std::int64_t rows = body.rows();
    if (rows == 0) return;
    rows_kernel<<<blocks(rows, kThreads / kLanes), kThreads, 0, stream_>>>(body, rows);
    check(cudaGetLastError(), name_);
  }

 private:
  static unsigned blocks(std::int64_t work, std::int64_t per_block) {
    return unsigned(std::min(kMostBlocks, (work + per_block - 1) / per_block));
  }

  Stream stream_;
  const char* name_;
};

}  // namespace

void launch(const NormReluPool& task, Stream stream) {
  run(CudaGrid(stream, "norm_relu_pool"), task);
}

void launch(const NormReluPoolGradient& task, Stream stream) {
  run(CudaGrid(stream, "norm_relu_pool gradient"), task);
}

void launch(const Augmentation<ColorParameters>& task, float* means, Stream stream) {
  run(CudaGrid(stream, "color"), task, means);
}

void launch(const Augmentation<CropParameters>& task, Stream stream) {
  run(CudaGrid(stream, "crop"), task);
}

void launch(const Augmentation<CutoutParameters>& task, Stream stream) {
  run(CudaGrid(stream, "cutout"), task);
}

void launch(const Augmentation<FlipParameters>& task, Stream stream) {
  run(CudaGrid(stream, "flip"), task);
}

void launch(const Augmentation<ResampleParameters>& task, Stream stream) {
  run(CudaGrid(stream, "resample"), task);
}

void launch_gradient(const Augmentation<ResampleParameters>& task, Stream stream) {
  run_gradient(CudaGrid(stream, "resample gradient"), task);
}

void launch(const SgdStep& step, Stream stream) { run(CudaGrid(stream, "sgd"), step); }

void launch(const AdamStep& step, Stream stream) { run(CudaGrid(stream, "adam"), step); }

DeviceCount count_devices() {
  DeviceCount result;
  const cudaError_t error = cudaGetDeviceCount(&result.count);
  if (error != cudaSuccess) {
    result.count = 0;
    result.reason = cudaGetErrorString(error);
  } else if (result.count == 0) {
    result.reason = "no CUDA device was found";
  }
  return result;
}

}  // namespace retort::kernels::cuda
