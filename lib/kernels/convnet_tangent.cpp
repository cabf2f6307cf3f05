#include "lib/kernels/convnet_tangent.h"

#include <algorithm>

#include "lib/kernels/common.h"
#include "lib/kernels/convnet_group_norm.h"

namespace retort::kernels {
namespace {

const float* data(const Tensor& t) { return t.const_data_ptr<float>(); }

// Weights of directions and of the network itself for maps of value and tangent side by side: the
// tangent of x * w is x * v + tx * w. Joined along `dim`, whose size is padded.
Tensor joined_weights(const Tensor& direction, const Tensor& weight, std::int64_t dim,
                      std::int64_t padded) {
  std::vector<std::int64_t> sizes = weight.sizes().vec();
  const std::int64_t size = sizes[std::size_t(dim)];
  sizes[std::size_t(dim)] = 2 * padded;
  const Tensor joined = at::zeros(sizes, weight.options().requires_grad(false));
  joined.narrow(dim, 0, size).copy_(direction);
  joined.narrow(dim, padded, size).copy_(weight);
  return joined;
}

}  // namespace

ConvNetTangent::ConvNetTangent(const ConvNetPlan& plan, const std::vector<SavedBlock>& saved,
                               const Tensors& directions)
    : plan_(plan), saved_(saved), loops_(*best_loops()), directions_(directions) {
  const Tensor& x = plan.images();
  const auto options = x.options().requires_grad(false);
  for (std::size_t b = 0; b < plan.blocks().size(); ++b) {
    const ConvNetPlan::Block& block = plan.blocks()[b];
    const std::int64_t channels = block.map.channels;
    const Tensor* const v = &directions_[4 * b];
    BlockTangent tangent{padded_vector(v[1], channels),
                         padded_vector(v[2], channels),
                         padded_vector(v[3], channels),
                         {},
                         {},
                         {}};
    tangent.mean = at::zeros({x.size(0), channels}, options);
    tangent.rstd = at::zeros({x.size(0), channels}, options);
    if (b == 0 && plan.first_is_direct()) {
      first_.emplace(loops_, block.in_channels, x.size(2), x.size(3), plan.first_padding(),
                     2 * channels);
      const DirectConvolution& single = plan.direct();
      first_weight_ = at::cat({single.pack(plan.weight(0)), single.pack(v[0])}, 1);
      // The gradient's tangent: gz meets the direction, its derivative the weight.
      first_adjoint_ = at::cat({single.pack_adjoint(v[0]), single.pack_adjoint(plan.weight(0))}, 0);
      first_bias_ = at::cat({block.bias, tangent.bias});
    } else {
      tangent.map = at::empty({x.size(0), block.map.height, block.map.width, channels}, options);
    }
    blocks_.push_back(std::move(tangent));
  }
}

Tensor ConvNetTangent::transformed(std::size_t b, bool adjoint) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const std::int64_t in_channels = padded_channels(block.in_channels);
  const Tensor& direction = directions_[4 * b];
  Tensor weight = direction;  // forward through a first block: images have no tangent
  if (adjoint) {
    weight = joined_weights(direction, plan_.weight(b), 0, block.map.channels);
  } else if (b > 0) {
    weight = joined_weights(direction, plan_.weight(b), 1, in_channels);
  }
  const std::int64_t from = adjoint ? 2 * block.map.channels
                            : b > 0 ? 2 * in_channels
                                    : in_channels;
  const std::int64_t to = adjoint ? in_channels : block.map.channels;
  const Tensor result = at::empty({kWinogradPositions * from * to}, weight.options());
  loops_.transform_weight(data(weight), weight.size(0), weight.size(1), adjoint,
                          result.mutable_data_ptr<float>());
  return result;
}

const float* ConvNetTangent::direct_map(std::int64_t image) const {
  float* const map = scratch(Slot::Map, first_->map().image_size());
  first_->forward(first_->gather(at_image(plan_.images(), image)), data(first_weight_),
                  data(first_bias_), map);
  return map;
}

NormTangent ConvNetTangent::norm_input(std::size_t b, std::int64_t image) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const BlockTangent& tangent = blocks_[b];
  const std::int64_t channels = block.map.channels;
  NormTangent in{.height = block.map.height,
                 .width = block.map.width,
                 .channels = channels,
                 .z = nullptr,
                 .z_stride = channels,
                 .tz = nullptr,
                 .tz_stride = channels,
                 .weight = data(block.norm_weight),
                 .bias = data(block.norm_bias),
                 .tweight = data(tangent.norm_weight),
                 .tbias = data(tangent.norm_bias),
                 .mean = at_image(saved_[b].mean, image),
                 .rstd = at_image(saved_[b].rstd, image),
                 .given = plan_.has_fixed_statistics() || block.shares_statistics()};
  if (direct(b)) {
    in.z = direct_map(image);
    in.tz = in.z + channels;
    in.z_stride = in.tz_stride = 2 * channels;
  } else {
    in.z = at_image(saved_[b].map, image);
    in.tz = at_image(tangent.map, image);
  }
  return in;
}

Tensor ConvNetTangent::forward() {
  const Tensor& x = plan_.images();
  const ConvNetPlan::Block& last = plan_.blocks().back();
  Tensors weights;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    weights.push_back(direct(b) ? Tensor() : transformed(b, false));
  }
  const Tensor features = at::empty({x.size(0), last.out_channels * last.out.pixels()},
                                    x.options().requires_grad(false));
  for_ranges(x.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t n = first; n < end; n += plan_.group()) {
      forward_group(n, std::min(plan_.group(), end - n), weights, features);
    }
  });
  return features;
}

void ConvNetTangent::forward_group(std::int64_t first, std::int64_t count, const Tensors& weights,
                                   const Tensor& features) const {
  Slot slot = Slot::Even;
  const float* in = nullptr;
  if (!first_) {
    const ConvNetPlan::Block& block = plan_.blocks()[0];
    const MapShape shape = block.in();
    float* const turned = scratch(slot, count * shape.image_size());
    for (std::int64_t i = 0; i < count; ++i) {
      loops_.to_channels_last(at_image(plan_.images(), first + i), block.in_channels,
                              shape.pixels(), shape.channels, turned + i * shape.image_size());
    }
    in = turned;
  }
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    slot = slot == Slot::Even ? Slot::Odd : Slot::Even;
    float* const out = scratch(slot, count * 2 * plan_.blocks()[b].out.image_size());
    forward_block(b, first, count, in, weights[b], out);
    in = out;
  }
  const ConvNetPlan::Block& last = plan_.blocks().back();
  const MapShape& out = last.out;
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_first(in + i * 2 * out.image_size() + out.channels, 2 * out.channels,
                             last.out_channels, out.pixels(), at_image(features, first + i));
  }
}

void ConvNetTangent::forward_block(std::size_t b, std::int64_t first, std::int64_t count,
                                   const float* in, const Tensor& weight, float* out) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  if (!direct(b)) {
    MapShape shape = block.in();
    shape.channels *= b > 0 ? 2 : 1;
    shape.count = count;
    loops_.convolve(
        in, shape, data(weight), data(blocks_[b].bias), block.map.channels,
        at_image(blocks_[b].map, first),
        scratch(Slot::Convolve, loops_.convolve_scratch(shape.channels, block.map.channels)));
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const NormTangent norm = norm_input(b, first + i);
    float* const tmean = at_image(blocks_[b].mean, first + i);
    float* const trstd = at_image(blocks_[b].rstd, first + i);
    if (block.shares_statistics()) {
      loops_.norm_tangent_statistics(norm, tmean, trstd);
      share_means(block, tmean);
      share_means(block, trstd);
    }
    loops_.norm_relu_pool_tangent(norm, out + i * 2 * block.out.image_size(), tmean, trstd);
  }
}

// What Loops::norm_relu_pool_gradient_tangent takes where the statistics' part in it is given.
const float* ConvNetTangent::gradient_means(std::size_t b, std::int64_t image,
                                            const NormTangent& norm, const float* gy,
                                            const float* tgy) const {
  if (!norm.given) return nullptr;
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const std::int64_t channels = block.map.channels;
  float* const means = scratch(Slot::Statistics, kTangentMeans * channels);
  if (!block.shares_statistics()) {
    std::fill_n(means, kTangentMeans * channels, 0.0F);
    return means;
  }
  loops_.norm_gradient_tangent_means(norm, at_image(blocks_[b].mean, image),
                                     at_image(blocks_[b].rstd, image), gy, tgy, means);
  for (std::int64_t k = 0; k < kTangentMeans; ++k) share_means(block, means + k * channels);
  return means;
}

Tensor ConvNetTangent::backward(const Tensor& tgy) const {
  const Tensor& x = plan_.images();
  const Tensor result = at::empty_like(x);
  Tensors adjoints;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    adjoints.push_back(direct(b) ? Tensor() : transformed(b, true));
  }
  for_ranges(x.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t n = first; n < end; n += plan_.group()) {
      backward_group(n, std::min(plan_.group(), end - n), adjoints, tgy, result);
    }
  });
  return result;
}

void ConvNetTangent::backward_group(std::int64_t first, std::int64_t count, const Tensors& adjoints,
                                    const Tensor& tgy, const Tensor& result) const {
  const ConvNetPlan::Block& last = plan_.blocks().back();
  Slot slot = Slot::Even;
  float* tgout = scratch(slot, count * last.out.image_size());
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_last(at_image(tgy, first + i), last.out_channels, last.out.pixels(),
                            last.out.channels, tgout + i * last.out.image_size());
  }
  for (std::size_t b = blocks_.size(); b-- > 0;) {
    const ConvNetPlan::Block& block = plan_.blocks()[b];
    const MapShape in = block.in();
    const std::int64_t step = direct(b) ? 1 : std::min(block.step, count);
    float* const gmap = scratch(Slot::Gradient, step * 2 * block.map.image_size());
    slot = slot == Slot::Even ? Slot::Odd : Slot::Even;
    float* const tgin = direct(b) ? nullptr : scratch(slot, count * in.image_size());
    for (std::int64_t i = 0; i < count; i += step) {
      const std::int64_t images = std::min(step, count - i);
      for (std::int64_t k = 0; k < images; ++k) {
        const std::int64_t image = first + i + k;
        const NormTangent norm = norm_input(b, image);
        const float* const gout = at_image(saved_[b].gout, image);
        const float* const tangent = tgout + (i + k) * block.out.image_size();
        loops_.norm_relu_pool_gradient_tangent(
            norm, at_image(blocks_[b].mean, image), at_image(blocks_[b].rstd, image), gout, tangent,
            gradient_means(b, image, norm, gout, tangent), gmap + k * 2 * block.map.image_size());
      }
      if (direct(b)) {
        first_->input_gradient(gmap, data(first_adjoint_), at_image(result, first + i));
      } else {
        loops_.convolve(
            gmap, {images, in.height, in.width, 2 * block.map.channels}, data(adjoints[b]), nullptr,
            in.channels, tgin + i * in.image_size(),
            scratch(Slot::Convolve, loops_.convolve_scratch(2 * block.map.channels, in.channels)));
      }
    }
    tgout = tgin;
  }
  if (first_) return;
  const MapShape in = plan_.blocks()[0].in();
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_first(tgout + i * in.image_size(), in.channels,
                             plan_.blocks()[0].in_channels, in.pixels(),
                             at_image(result, first + i));
  }
}

}  // namespace retort::kernels
