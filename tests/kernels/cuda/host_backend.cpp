#include "tests/kernels/cuda/host_backend.h"

#include "lib/core/error.h"
#include "lib/kernels/cuda/augment.h"
#include "lib/kernels/cuda/norm_relu_pool.h"
#include "lib/kernels/cuda/optimizer.h"
#include "lib/kernels/policy.h"
#include "tests/kernels/cuda/host.h"

namespace retort::testing {
namespace {

using namespace kernels::cuda;
using kernels::CudaBackend;
using kernels::NormReluPoolGradients;
using kernels::NormReluPoolOutput;

void expect_ours(std::initializer_list<Tensor> tensors) {
  for (const Tensor& t : tensors) {
    if (!t.defined() || t.scalar_type() != at::kFloat || !t.is_contiguous()) {
      throw Error("host backend: tensors must be contiguous float32");
    }
  }
}

DeviceCount one_device() { return {1, ""}; }

NormReluPool norm_task(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                       const NormReluPoolOutput& output) {
  return {{x.size(0), x.size(1), x.size(2), x.size(3)},
          in(x),
          in(weight),
          in(bias),
          float(eps),
          out(output.mean),
          out(output.rstd),
          output.y.defined() ? out(output.y) : nullptr};
}

NormReluPoolOutput norm_relu_pool(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                  double eps) {
  expect_ours({x, weight, bias});
  const NormReluPoolOutput output{unwritten({x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2}),
                                  unwritten({x.size(0), x.size(1)}),
                                  unwritten({x.size(0), x.size(1)})};
  run(kHost, norm_task(x, weight, bias, eps, output));
  return output;
}

NormReluPoolGradients norm_relu_pool_gradient(const Tensor& x, const Tensor& weight,
                                              const Tensor& bias, const NormReluPoolOutput& output,
                                              const Tensor& gy) {
  expect_ours({x, weight, bias, output.mean, output.rstd, gy});
  const NormReluPoolGradients g{unwritten_like(x), unwritten_like(weight), unwritten_like(bias)};
  const Tensor bias_sums = unwritten_like(output.mean);
  const Tensor scale_sums = unwritten_like(output.mean);
  run(kHost, NormReluPoolGradient{norm_task(x, weight, bias, 0, output), in(gy), out(bias_sums),
                                  out(scale_sums), out(g.x), out(g.weight), out(g.bias)});
  return g;
}

template <class Parameters>
Augmentation<Parameters> task(const Tensor& x, const Tensor& y,
                              const std::vector<Parameters>& parameters) {
  expect_ours({x});
  const auto found = std::int64_t(parameters.size());
  if (found != 1 && found != x.size(0)) throw Error("host backend: parameters for 1 or N images");
  return {
      {x.size(0), x.size(1), x.size(2), x.size(3)}, in(x), out(y), parameters.data(), found == 1};
}

template <class Parameters>
Tensor augment(const Tensor& x, const std::vector<Parameters>& parameters) {
  const Tensor y = unwritten_like(x);
  run(kHost, task(x, y, parameters));
  return y;
}

Tensor color(const Tensor& x, const std::vector<ColorParameters>& parameters) {
  const Tensor y = unwritten_like(x);
  const Tensor means = unwritten({x.size(0)});
  run(kHost, task(x, y, parameters), out(means));
  return y;
}

Tensor resample_gradient(const Tensor& gy, const std::vector<ResampleParameters>& parameters) {
  const Tensor gx = unwritten_like(gy);
  run_gradient(kHost, task(gy, gx, parameters));
  return gx;
}

void sgd_step(const Tensor& w, const Tensor& velocity, const Tensor& g, const SgdStep& numbers) {
  expect_ours({w, g});
  if (numbers.momentum != 0) expect_ours({velocity});
  SgdStep step = numbers;
  step.count = w.numel();
  step.w = out(w);
  step.velocity = numbers.momentum != 0 ? out(velocity) : nullptr;
  step.g = in(g);
  run(kHost, step);
}

void adam_step(const Tensor& w, const Tensor& first, const Tensor& second, const Tensor& g,
               const AdamStep& numbers) {
  expect_ours({w, first, second, g});
  AdamStep step = numbers;
  step.count = w.numel();
  step.w = out(w);
  step.first_moment = out(first);
  step.second_moment = out(second);
  step.g = in(g);
  run(kHost, step);
}

}  // namespace

const CudaBackend& host_backend() {
  static const CudaBackend backend{kernels::kCudaBackendVersion,
                                   &one_device,
                                   &norm_relu_pool,
                                   &norm_relu_pool_gradient,
                                   &color,
                                   &augment<CropParameters>,
                                   &augment<CutoutParameters>,
                                   &augment<FlipParameters>,
                                   &augment<ResampleParameters>,
                                   &resample_gradient,
                                   &sgd_step,
                                   &adam_step};
  return backend;
}

ServesCpu::ServesCpu(const CudaBackend& backend) {
  kernels::reset_counters();
  kernels::install_device_backend(backend, at::kCPU);
}

std::vector<std::string> left_out(const CudaBackend& backend) {
  std::vector<std::string> names;
  const auto look = [&](const char* name, bool there) {
    if (!there) names.emplace_back(name);
  };
  look("norm_relu_pool", backend.norm_relu_pool != nullptr);
  look("norm_relu_pool_gradient", backend.norm_relu_pool_gradient != nullptr);
  look("color", backend.color != nullptr);
  look("crop", backend.crop != nullptr);
  look("cutout", backend.cutout != nullptr);
  look("flip", backend.flip != nullptr);
  look("resample", backend.resample != nullptr);
  look("resample_gradient", backend.resample_gradient != nullptr);
  look("sgd_step", backend.sgd_step != nullptr);
  look("adam_step", backend.adam_step != nullptr);
  return names;
}

}  // namespace retort::testing
