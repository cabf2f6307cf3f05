#include "lib/kernels/device_block.h"

#include "lib/kernels/common.h"
#include "lib/kernels/device_backend.h"
#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

Tensors reference_gradients(const Tensors& saved, const Tensor& gy, double eps) {
  return differentiable_gradients(
      [eps](const Tensors& in) { return block_reference(in[0], in[1], in[2], eps); },
      Tensors(saved.begin(), saved.begin() + 3), gy);
}

Tensors fused_gradients(const CudaBackend& backend, const Tensors& saved, const Tensor& gy) {
  const Tensors in = contiguous({saved[0], saved[1], saved[2], gy});
  const auto found =
      backend.norm_relu_pool_gradient(in[0], in[1], in[2], {Tensor(), saved[3], saved[4]}, in[3]);
  return {found.x, found.weight, found.bias};
}

Recorded block(const CudaBackend& backend, const Tensor& x, const Tensor& weight,
               const Tensor& bias, double eps) {
  const Tensors in = contiguous({x, weight, bias});
  const NormReluPoolOutput output = backend.norm_relu_pool(in[0], in[1], in[2], eps);
  return {{output.y},
          {x, weight, bias, output.mean, output.rstd},
          [backend, eps](const BackwardPass& pass) {
            return at::GradMode::is_enabled()
                       ? reference_gradients(pass.saved, pass.gradients[0], eps)
                       : fused_gradients(backend, pass.saved, pass.gradients[0]);
          }};
}

}  // namespace

Tensor device_block(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  if (!is_for_device(x)) return {};
  const CudaBackend* const backend = device_backend_for(DeviceTask::Block, {x, weight, bias});
  if (backend == nullptr) return {};
  return record({x, weight, bias}, [&] { return block(*backend, x, weight, bias, eps); })[0];
}

Tensor block_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return at::avg_pool2d(at::relu(at::group_norm(x, x.size(1), weight, bias, eps)), 2);
}

}  // namespace retort::kernels
