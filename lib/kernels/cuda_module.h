#pragma once
// The CUDA module: a library of its own that is opened while the program runs, so that one program
// serves machines with and without a device, and processes that compute on the CPU do not load
// CUDA's libraries.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/cuda/launchers.h"

namespace retort::kernels {

struct NormReluPoolOutput {
  Tensor y;           ///< [N,C,H/2,W/2]
  Tensor mean, rstd;  ///< [N,C], for the gradient
};

struct NormReluPoolGradients {
  Tensor x;             ///< [N,C,H,W]
  Tensor weight, bias;  ///< [C]
};

/// Raised with every change of CudaBackend: program and module must be of one build.
inline constexpr int kCudaBackendVersion = 1;

/// What the module offers. Tensors are contiguous float32 on one CUDA device; anything else is an
/// Error that names the tensor. Work is queued on the device's current stream. Without a graph:
/// gradients are functions of their own. Parameters are one for all images or one per image.
struct CudaBackend {
  int version;
  cuda::DeviceCount (*count_devices)();

  /// y = avg_pool2(relu(instance_norm(x) * weight + bias)), biased variance; a last odd row or
  /// column counts in the statistics only.  @param x [N,C,H,W], H,W >= 2  @param weight,bias [C]
  NormReluPoolOutput (*norm_relu_pool)(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       double eps);
  NormReluPoolGradients (*norm_relu_pool_gradient)(const Tensor& x, const Tensor& weight,
                                                   const Tensor& bias,
                                                   const NormReluPoolOutput& output,
                                                   const Tensor& gy);

  /// The operations of lib/augment on [N,C,H,W]; with adjoint parameters their gradients.
  Tensor (*color)(const Tensor& x, const std::vector<cuda::ColorParameters>& parameters);
  Tensor (*crop)(const Tensor& x, const std::vector<cuda::CropParameters>& parameters);
  Tensor (*cutout)(const Tensor& x, const std::vector<cuda::CutoutParameters>& parameters);
  Tensor (*flip)(const Tensor& x, const std::vector<cuda::FlipParameters>& parameters);
  Tensor (*resample)(const Tensor& x, const std::vector<cuda::ResampleParameters>& parameters);
  Tensor (*resample_gradient)(const Tensor& gy,
                              const std::vector<cuda::ResampleParameters>& parameters);

  /// In place. `velocity` is undefined without momentum; of `step` the numbers are read.
  void (*sgd_step)(const Tensor& w, const Tensor& velocity, const Tensor& g,
                   const cuda::SgdStep& step);
  void (*adam_step)(const Tensor& w, const Tensor& first_moment, const Tensor& second_moment,
                    const Tensor& g, const cuda::AdamStep& step);
};

/// Where the build puts the module: libretort_cuda.so next to the program.
std::filesystem::path cuda_module_beside_program();

/// Opens the module and asks for a device. Comes before anything else that makes LibTorch look for
/// CUDA, since it looks once. A module that was opened stays; later calls return it.
/// @param driver the library of NVIDIA's driver, asked for first
/// @throws ConfigError that says what is missing: the module, the driver, libraries, or a device
const CudaBackend& load_cuda_module(const std::filesystem::path& module,
                                    const std::string& driver = "libcuda.so.1");

}  // namespace retort::kernels
