// The table of lib/kernels/cuda_module.h: checks tensors and hands their memory to the launchers.

#include <cstring>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/kernels/cuda_module.h"

namespace retort::kernels {
namespace {

void expect_ours(const Tensor& t, const Tensor& like, const char* name) {
  if (!t.defined() || !t.is_cuda() || t.scalar_type() != at::kFloat || !t.is_contiguous()) {
    throw Error(
        retort::str("CUDA kernels: ", name, " must be contiguous float32 on a CUDA device, found ",
                    t.defined() ? t.toString() + (t.is_contiguous() ? "" : ", not contiguous")
                                : std::string("no tensor")));
  }
  if (t.device() != like.device()) {
    throw Error(retort::str("CUDA kernels: ", name, " is on ", t.device(), ", the first tensor on ",
                            like.device()));
  }
}

void expect_sizes(const Tensor& t, at::IntArrayRef sizes, const char* name) {
  if (t.sizes() == sizes) return;
  throw Error(
      retort::str("CUDA kernels: ", name, " must have the shape ", sizes, ", found ", t.sizes()));
}

void expect_map(const Tensor& x, const char* name) {
  expect_ours(x, x, name);
  if (x.dim() != 4)
    throw Error(retort::str("CUDA kernels: ", name, " must be [N,C,H,W], found ", x.sizes()));
}

/// The tensors' device is the current one while it lives.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& t)
      : guard_(t.device()), stream_(c10::cuda::getCurrentCUDAStream(t.device().index())) {}
  cuda::Stream stream() const { return stream_.stream(); }

 private:
  c10::cuda::CUDAGuard guard_;
  c10::cuda::CUDAStream stream_;
};

const float* in(const Tensor& t) { return t.const_data_ptr<float>(); }
float* out(const Tensor& t) { return t.mutable_data_ptr<float>(); }

// ---- norm, relu, pooling ------------------------------------------------------------------------

void expect_norm_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  expect_map(x, "x");
  if (x.size(2) < 2 || x.size(3) < 2) {
    throw Error(retort::str("CUDA kernels: pooling needs 2x2 pixels or more, found ", x.sizes()));
  }
  for (const auto& [t, name] : {std::pair{&weight, "weight"}, std::pair{&bias, "bias"}}) {
    expect_ours(*t, x, name);
    expect_sizes(*t, {x.size(1)}, name);
  }
}

cuda::NormReluPool norm_task(const Tensor& x, const Tensor& weight, const Tensor& bias,
                             const NormReluPoolOutput& output) {
  cuda::NormReluPool task{};
  task.size = {x.size(0), x.size(1), x.size(2), x.size(3)};
  task.x = in(x);
  task.weight = in(weight);
  task.bias = in(bias);
  task.mean = out(output.mean);
  task.rstd = out(output.rstd);
  return task;
}

NormReluPoolOutput norm_relu_pool(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                  double eps) {
  expect_norm_inputs(x, weight, bias);
  const OnDevice device(x);
  const NormReluPoolOutput output{
      at::empty({x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2}, x.options()),
      at::empty({x.size(0), x.size(1)}, x.options()),
      at::empty({x.size(0), x.size(1)}, x.options())};
  cuda::NormReluPool task = norm_task(x, weight, bias, output);
  task.eps = float(eps);
  task.y = out(output.y);
  launch(task, device.stream());
  return output;
}

NormReluPoolGradients norm_relu_pool_gradient(const Tensor& x, const Tensor& weight,
                                              const Tensor& bias, const NormReluPoolOutput& output,
                                              const Tensor& gy) {
  expect_norm_inputs(x, weight, bias);
  expect_ours(gy, x, "gy");
  expect_sizes(gy, {x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2}, "gy");
  for (const auto& [t, name] : {std::pair{&output.mean, "mean"}, std::pair{&output.rstd, "rstd"}}) {
    expect_ours(*t, x, name);
    expect_sizes(*t, {x.size(0), x.size(1)}, name);
  }
  const OnDevice device(x);
  const Tensor bias_sums = at::empty_like(output.mean);
  const Tensor scale_sums = at::empty_like(output.mean);
  const NormReluPoolGradients result{at::empty_like(x), at::empty_like(weight),
                                     at::empty_like(bias)};
  const cuda::NormReluPoolGradient task{norm_task(x, weight, bias, output),
                                        in(gy),
                                        out(bias_sums),
                                        out(scale_sums),
                                        out(result.x),
                                        out(result.weight),
                                        out(result.bias)};
  launch(task, device.stream());
  return result;
}

// ---- augmentation -------------------------------------------------------------------------------

template <class Parameters>
Tensor uploaded(const std::vector<Parameters>& parameters, at::Device device) {
  const auto bytes = std::int64_t(parameters.size() * sizeof(Parameters));
  const Tensor host = at::empty({bytes}, at::TensorOptions(at::kByte));
  std::memcpy(host.mutable_data_ptr(), parameters.data(), std::size_t(bytes));
  return host.to(device);
}

template <class Parameters, class Launch>
Tensor augmented(const Tensor& x, const std::vector<Parameters>& parameters, Launch&& queue) {
  expect_map(x, "images");
  const auto found = std::int64_t(parameters.size());
  if (found != 1 && found != x.size(0)) {
    throw Error(retort::str("CUDA kernels: augmentation needs parameters for 1 or ", x.size(0),
                            " images, found ", found));
  }
  const OnDevice device(x);
  const Tensor result = at::empty_like(x);
  const Tensor memory = uploaded(parameters, x.device());
  queue(cuda::Augmentation<Parameters>{{x.size(0), x.size(1), x.size(2), x.size(3)},
                                       in(x),
                                       out(result),
                                       static_cast<const Parameters*>(memory.const_data_ptr()),
                                       found == 1},
        device.stream());
  return result;
}

template <class Parameters>
Tensor augment(const Tensor& x, const std::vector<Parameters>& parameters) {
  return augmented(x, parameters,
                   [](const auto& task, cuda::Stream stream) { launch(task, stream); });
}

Tensor color(const Tensor& x, const std::vector<cuda::ColorParameters>& parameters) {
  return augmented(x, parameters, [&](const auto& task, cuda::Stream stream) {
    const Tensor means = at::empty({x.size(0)}, x.options());
    launch(task, out(means), stream);
  });
}

Tensor resample_gradient(const Tensor& gy,
                         const std::vector<cuda::ResampleParameters>& parameters) {
  return augmented(gy, parameters,
                   [](const auto& task, cuda::Stream stream) { launch_gradient(task, stream); });
}

// ---- optimisers ---------------------------------------------------------------------------------

void expect_like(const Tensor& t, const Tensor& w, const char* name) {
  expect_ours(t, w, name);
  expect_sizes(t, w.sizes(), name);
}

void sgd_step(const Tensor& w, const Tensor& velocity, const Tensor& g,
              const cuda::SgdStep& numbers) {
  expect_like(w, w, "parameters");
  expect_like(g, w, "gradient");
  if (numbers.momentum != 0) expect_like(velocity, w, "velocity");
  const OnDevice device(w);
  cuda::SgdStep step = numbers;
  step.count = w.numel();
  step.w = out(w);
  step.velocity = numbers.momentum != 0 ? out(velocity) : nullptr;
  step.g = in(g);
  launch(step, device.stream());
}

void adam_step(const Tensor& w, const Tensor& first_moment, const Tensor& second_moment,
               const Tensor& g, const cuda::AdamStep& numbers) {
  expect_like(w, w, "parameters");
  expect_like(g, w, "gradient");
  expect_like(first_moment, w, "first moment");
  expect_like(second_moment, w, "second moment");
  const OnDevice device(w);
  cuda::AdamStep step = numbers;
  step.count = w.numel();
  step.w = out(w);
  step.first_moment = out(first_moment);
  step.second_moment = out(second_moment);
  step.g = in(g);
  launch(step, device.stream());
}

constexpr CudaBackend kBackend{kCudaBackendVersion,
                               &cuda::count_devices,
                               &norm_relu_pool,
                               &norm_relu_pool_gradient,
                               &color,
                               &augment<cuda::CropParameters>,
                               &augment<cuda::CutoutParameters>,
                               &augment<cuda::FlipParameters>,
                               &augment<cuda::ResampleParameters>,
                               &resample_gradient,
                               &sgd_step,
                               &adam_step};

}  // namespace
}  // namespace retort::kernels

/// Found by name by load_cuda_module.
extern "C" __attribute__((visibility("default"))) const retort::kernels::CudaBackend*
retort_cuda_backend() {
  return &retort::kernels::kBackend;
}
