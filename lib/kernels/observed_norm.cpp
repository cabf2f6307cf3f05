#include "lib/kernels/observed_norm.h"

#include <utility>

#include "lib/kernels/common.h"
#include "lib/kernels/loops/loops.h"
#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

/// float64 [C], by which x is multiplied.
Tensor scale_of(const FixedNorm& norm) {
  return norm.weight.to(at::kDouble) * (norm.variance.to(at::kDouble) + norm.eps).rsqrt();
}

Tensor single(const Tensor& values) { return values.to(at::kFloat).contiguous(); }

/// What running statistics become later is none of a gradient's business.
FixedNorm copy_of(const FixedNorm& norm) {
  return {norm.weight.clone(), norm.bias.clone(), norm.mean.clone(), norm.variance.clone(),
          norm.eps};
}

ChannelPlanes planes_of(const Tensor& x) {
  return {x.size(0), x.size(1) * x.size(2) * x.size(3), x.size(2) * x.size(3)};
}

/// body(channel, where its pixels begin) for every channel.
template <class Body>
void for_channels(const Tensor& x, const Body& body) {
  const std::int64_t pixels = x.size(2) * x.size(3);
  for_ranges(x.size(1), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t c = first; c < end; ++c) body(c, c * pixels);
  });
}

/// @param x contiguous
ObservedNorm forward(const Tensor& x, const FixedNorm& norm) {
  const Loops& loops = *best_loops();
  const ChannelPlanes planes = planes_of(x);
  const double count = double(planes.count) * double(planes.pixels);
  const Tensor scale = scale_of(norm);
  const Tensor scales = single(scale);
  const Tensor shifts = single(norm.bias.to(at::kDouble) - norm.mean.to(at::kDouble) * scale);
  ObservedNorm result{at::empty_like(x), at::empty_like(scales), at::empty_like(scales)};
  const float* const in = x.const_data_ptr<float>();
  const float* const s = scales.const_data_ptr<float>();
  const float* const b = shifts.const_data_ptr<float>();
  float* const out = result.y.mutable_data_ptr<float>();
  float* const means = result.mean.mutable_data_ptr<float>();
  float* const variances = result.variance.mutable_data_ptr<float>();
  for_channels(x, [&](std::int64_t c, std::int64_t at) {
    means[c] = float(loops.channel_sum(in + at, planes) / count);
    variances[c] =
        float(loops.channel_affine(in + at, planes, means[c], s[c], b[c], out + at) / count);
  });
  return result;
}

/// @param x contiguous  @param gradients of y, mean and variance; undefined: zero
Tensor backward(const Tensor& x, const Tensor& mean, const Tensor& scale,
                const Tensors& gradients) {
  const Loops& loops = *best_loops();
  const ChannelPlanes planes = planes_of(x);
  const double count = double(planes.count) * double(planes.pixels);
  const auto wide = [&](const Tensor& g) {
    return g.defined() ? g.to(at::kDouble) : at::zeros_like(scale);
  };
  const Tensor slope = wide(gradients[2]) * (2 / count);
  const Tensor shifts = single(wide(gradients[1]) / count - slope * mean.to(at::kDouble));
  const Tensor slopes = single(slope);
  const Tensor scales = single(scale);
  const Tensor gy = gradients[0].defined() ? gradients[0].contiguous() : Tensor();
  const Tensor gx = at::empty_like(x);
  const float* const in = x.const_data_ptr<float>();
  const float* const up = gy.defined() ? gy.const_data_ptr<float>() : nullptr;
  const float* const a = scales.const_data_ptr<float>();
  const float* const m = slopes.const_data_ptr<float>();
  const float* const b = shifts.const_data_ptr<float>();
  float* const out = gx.mutable_data_ptr<float>();
  for_channels(x, [&](std::int64_t c, std::int64_t at) {
    loops.channel_affine_gradient(in + at, up != nullptr ? up + at : nullptr, planes, a[c], m[c],
                                  b[c], out + at);
  });
  return gx;
}

Tensor joined(const Tensor& y, const Tensor& mean, const Tensor& variance) {
  return at::cat({y.reshape(-1), mean, variance});
}

/// The gradient, differentiable again.
Tensors reference_gradients(const Tensor& x, const FixedNorm& norm, Tensors gradients) {
  const std::vector<std::vector<std::int64_t>> shapes{x.sizes().vec(), {x.size(1)}, {x.size(1)}};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!gradients[i].defined()) gradients[i] = at::zeros(shapes[i], norm.mean.options());
  }
  return differentiable_gradients(
      [&norm](const Tensors& in) {
        const ObservedNorm found = observed_norm_reference(in[0], norm);
        return joined(found.y, found.mean, found.variance);
      },
      {x}, joined(gradients[0], gradients[1], gradients[2]));
}

}  // namespace

bool serves_observed_norm(const Tensor& x, const FixedNorm& norm) {
  if (!is_fast_map(x)) return false;
  for (const Tensor& row : {norm.weight, norm.bias, norm.mean, norm.variance}) {
    if (!is_fast_parameter(row) || row.requires_grad()) return false;
  }
  return true;
}

ObservedNorm observed_norm(const Tensor& x, const FixedNorm& norm) {
  if (!at::GradMode::is_enabled() || !x.requires_grad()) {
    return forward(x.detach().contiguous(), norm);
  }
  const Tensors outputs = record({x}, [&] {
    const ObservedNorm found = forward(x.detach().contiguous(), norm);
    // Not the outputs themselves: they keep the node, and the node would keep them.
    return Recorded{
        {found.y, found.mean, found.variance},
        {x},
        [norm = copy_of(norm), mean = found.mean.detach(),
         scale = scale_of(norm)](const BackwardPass& pass) -> Tensors {
          if (at::GradMode::is_enabled()) {
            return reference_gradients(pass.saved[0], norm, pass.gradients);
          }
          return {backward(pass.saved[0].detach().contiguous(), mean, scale, pass.gradients)};
        }};
  });
  return {outputs[0], outputs[1], outputs[2]};
}

ObservedNorm observed_norm_reference(const Tensor& x, const FixedNorm& norm) {
  const auto [variance, mean] = at::var_mean(x, at::IntArrayRef{0, 2, 3}, /*correction=*/0);
  return {at::batch_norm(x, norm.weight, norm.bias, norm.mean, norm.variance, /*training=*/false,
                         /*momentum=*/0, norm.eps, /*cudnn_enabled=*/false),
          mean, variance};
}

}  // namespace retort::kernels
