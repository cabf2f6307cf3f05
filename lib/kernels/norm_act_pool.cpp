#include "lib/kernels/norm_act_pool.h"

#include <torch/csrc/autograd/custom_function.h>

#include "lib/kernels/common.h"
#include "lib/kernels/loops/loops.h"

namespace retort::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

MapShape shape_of(const Tensor& x) {
  return {x.size(0), x.size(2), x.size(3), padded_channels(x.size(1))};
}

MapShape pooled(const MapShape& shape) {
  return {shape.count, shape.height / 2, shape.width / 2, shape.channels};
}

// The loops work on channels-last images; turning one image around in cache costs far less than
// the statistics over narrow planes would.
struct Images {
  const Loops& loops;
  MapShape shape;
  std::int64_t channels;

  explicit Images(const Tensor& x)
      : loops(*best_loops()), shape(shape_of(x)), channels(x.size(1)) {}

  const float* turned(const float* planes, std::int64_t n, Slot slot) const {
    float* image = scratch(slot, shape.image_size());
    loops.to_channels_last(planes + n * channels * shape.pixels(), channels, shape.pixels(),
                           shape.channels, image);
    return image;
  }
};

struct Statistics {
  Tensor mean, rstd;  // [N, padded channels]
};

Tensor fused_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                     Statistics& statistics) {
  const Images in(x);
  const MapShape out = pooled(in.shape);
  const Tensor y = at::empty({x.size(0), x.size(1), out.height, out.width}, x.options());
  statistics.mean = at::empty({x.size(0), in.shape.channels}, x.options());
  statistics.rstd = at::empty_like(statistics.mean);
  const Tensor w = padded_vector(weight, in.shape.channels);
  const Tensor b = padded_vector(bias, in.shape.channels);
  const float* const x_data = x.const_data_ptr<float>();
  float* const y_data = y.mutable_data_ptr<float>();
  float* const mean = statistics.mean.mutable_data_ptr<float>();
  float* const rstd = statistics.rstd.mutable_data_ptr<float>();
  for_ranges(x.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    float* result = scratch(Slot::PooledMap, out.image_size());
    for (std::int64_t n = first; n < end; ++n) {
      const float* image = in.turned(x_data, n, Slot::Map);
      in.loops.norm_relu_pool(image, in.shape, w.const_data_ptr<float>(), b.const_data_ptr<float>(),
                              float(eps), result, mean + n * in.shape.channels,
                              rstd + n * in.shape.channels);
      in.loops.to_channels_first(result, out.channels, in.channels, out.pixels(),
                                 y_data + n * in.channels * out.pixels());
    }
  });
  return y;
}

struct Gradients {
  Tensor x, weight, bias;
};

Gradients fused_backward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Statistics& statistics, const Tensor& gy, bool want_x) {
  const Images in(x);
  const Images pooled_in(gy);
  const Tensor w = padded_vector(weight, in.shape.channels);
  const Tensor b = padded_vector(bias, in.shape.channels);
  const Tensor sums = at::zeros({range_count(x.size(0)), 2, in.shape.channels}, x.options());
  Gradients result;
  if (want_x) result.x = at::empty_like(x);
  float* const gx = want_x ? result.x.mutable_data_ptr<float>() : nullptr;
  const float* const x_data = x.const_data_ptr<float>();
  const float* const gy_data = gy.const_data_ptr<float>();
  const float* const mean = statistics.mean.const_data_ptr<float>();
  const float* const rstd = statistics.rstd.const_data_ptr<float>();
  float* const sums_data = sums.mutable_data_ptr<float>();
  for_ranges(x.size(0), [&](std::int64_t range, std::int64_t first, std::int64_t end) {
    float* const gz = want_x ? scratch(Slot::Gradient, in.shape.image_size()) : nullptr;
    float* const range_sums = sums_data + range * 2 * in.shape.channels;
    for (std::int64_t n = first; n < end; ++n) {
      const float* image = in.turned(x_data, n, Slot::Map);
      const float* above = pooled_in.turned(gy_data, n, Slot::PooledGradient);
      in.loops.norm_relu_pool_gradient(image, in.shape, w.const_data_ptr<float>(),
                                       b.const_data_ptr<float>(), mean + n * in.shape.channels,
                                       rstd + n * in.shape.channels, above, gz, range_sums,
                                       range_sums + in.shape.channels);
      if (want_x) {
        in.loops.to_channels_first(gz, in.shape.channels, in.channels, in.shape.pixels(),
                                   gx + n * in.channels * in.shape.pixels());
      }
    }
  });
  const Tensor total = sums.sum(0).narrow(1, 0, in.channels);
  result.weight = total[0];
  result.bias = total[1];
  return result;
}

struct NormReluPool : torch::autograd::Function<NormReluPool> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, double eps) {
    Statistics statistics;
    const Tensor y = fused_forward(x.detach().contiguous(), weight, bias, eps, statistics);
    ctx->save_for_backward({x, weight, bias, statistics.mean, statistics.rstd});
    ctx->saved_data["eps"] = eps;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const Tensor& gy = gradients[0];
    const variable_list saved = ctx->get_saved_variables();
    const double eps = ctx->saved_data["eps"].toDouble();
    if (at::GradMode::is_enabled()) {
      Tensors result = differentiable_gradients(
          [eps](const Tensors& in) { return norm_relu_pool_reference(in[0], in[1], in[2], eps); },
          {saved[0], saved[1], saved[2]}, gy);
      result.emplace_back();
      return result;
    }
    const bool want_x = ctx->needs_input_grad(0);
    const Gradients result = fused_backward(saved[0].detach().contiguous(), saved[1], saved[2],
                                            {saved[3], saved[4]}, gy.contiguous(), want_x);
    return {result.x, ctx->needs_input_grad(1) ? result.weight : Tensor(),
            ctx->needs_input_grad(2) ? result.bias : Tensor(), Tensor()};
  }
};

}  // namespace

bool serves_norm_relu_pool(const Tensor& x) {
  return is_fast_map(x) && x.size(2) >= 2 && x.size(3) >= 2;
}

Tensor norm_relu_pool(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  if (!serves_norm_relu_pool(x) || !is_fast_parameter(weight) || !is_fast_parameter(bias)) {
    count(&Counters::norm_pool_fallback);
    return norm_relu_pool_reference(x, weight, bias, eps);
  }
  count(&Counters::norm_pool_fast);
  return NormReluPool::apply(x, weight, bias, eps);
}

Tensor norm_relu_pool_reference(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                double eps) {
  return at::avg_pool2d(at::relu(at::group_norm(x, x.size(1), weight, bias, eps)), 2);
}

}  // namespace retort::kernels
