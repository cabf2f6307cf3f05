#include "lib/kernels/device_block.h"

#include "lib/kernels/common.h"
#include "lib/kernels/device_backend.h"
#include "lib/kernels/held.h"

namespace retort::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Block : torch::autograd::Function<Block> {
  using Gradient = decltype(CudaBackend::norm_relu_pool_gradient);

  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, double eps, const CudaBackend* backend) {
    const Tensors in = contiguous({x, weight, bias});
    const NormReluPoolOutput output = backend->norm_relu_pool(in[0], in[1], in[2], eps);
    ctx->save_for_backward({x, weight, bias, output.mean, output.rstd});
    ctx->saved_data["eps"] = eps;
    hold<Gradient>(ctx, backend->norm_relu_pool_gradient);
    return output.y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    variable_list result = at::GradMode::is_enabled()
                               ? differentiable(saved, gradients[0], ctx->saved_data["eps"])
                               : fused(ctx, saved, gradients[0]);
    result.resize(5);  // nothing for eps and backend
    return result;
  }

 private:
  static variable_list differentiable(const variable_list& saved, const Tensor& gy,
                                      const c10::IValue& eps) {
    return differentiable_gradients(
        [&eps](const Tensors& in) { return block_reference(in[0], in[1], in[2], eps.toDouble()); },
        Tensors(saved.begin(), saved.begin() + 3), gy);
  }

  static variable_list fused(AutogradContext* ctx, const variable_list& saved, const Tensor& gy) {
    const Tensors in = contiguous({saved[0], saved[1], saved[2], gy});
    const auto found =
        held<Gradient>(ctx)(in[0], in[1], in[2], {Tensor(), saved[3], saved[4]}, in[3]);
    return {found.x, found.weight, found.bias};
  }
};

}  // namespace

Tensor device_block(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  if (!is_for_device(x)) return {};
  const CudaBackend* const backend = device_backend_for(DeviceTask::Block, {x, weight, bias});
  return backend != nullptr ? Block::apply(x, weight, bias, eps, backend) : Tensor();
}

Tensor block_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return at::avg_pool2d(at::relu(at::group_norm(x, x.size(1), weight, bias, eps)), 2);
}

}  // namespace retort::kernels
