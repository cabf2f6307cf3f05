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

// Values and tangents side by side along `dim`, kChannelStep at a time.
Tensor interleaved(const Tensor& value, const Tensor& tangent, std::int64_t dim) {
  const auto cut = [dim](const Tensor& t) {
    return t.unflatten(dim, {t.size(dim) / kChannelStep, kChannelStep});
  };
  return at::stack({cut(value), cut(tangent)}, dim + 1).flatten(dim, dim + 2);
}

}  // namespace

ConvNetTangent::ConvNetTangent(const ConvNetPlan& plan, const std::vector<SavedBlock>& saved,
                               const Tensors& directions, Wanted wanted)
    : plan_(plan), saved_(saved), wanted_(wanted), loops_(*best_loops()) {
  for (std::size_t b = 0; b < plan.blocks().size(); ++b) {
    const std::int64_t channels = plan.blocks()[b].map.channels;
    const Tensor* const v = &directions[kParametersPerBlock * b];
    BlockTangent tangent;
    tangent.bias = padded_vector(v[1], channels);
    tangent.norm_weight = padded_vector(v[2], channels);
    tangent.norm_bias = padded_vector(v[3], channels);
    blocks_.push_back(std::move(tangent));
    if (b == 0 && plan.first_is_direct()) {
      add_direct(v[0]);
      continue;
    }
    blocks_[b].forward = transformed(b, v[0], false);
    // Images have a gradient only if somebody asks for it.
    if (b > 0 ? wants_gradients() : wanted_.images) blocks_[b].adjoint = transformed(b, v[0], true);
  }
  lay_out_group();
}

void ConvNetTangent::add_direct(const Tensor& direction) {
  const ConvNetPlan::Block& block = plan_.blocks()[0];
  const Tensor& x = plan_.images();
  first_.emplace(loops_, block.in_channels, x.size(2), x.size(3), plan_.first_padding(),
                 2 * block.map.channels);
  const DirectConvolution& single = plan_.direct();
  const Tensor& weight = plan_.weight(0);
  blocks_[0].forward = interleaved(single.pack(weight), single.pack(direction), 1);
  // The gradient's tangent: gz meets the direction, its derivative the weight.
  blocks_[0].adjoint = interleaved(single.pack_adjoint(direction), single.pack_adjoint(weight), 0);
  first_bias_ = interleaved(block.bias, blocks_[0].bias, 0);
}

Tensor ConvNetTangent::transformed(std::size_t b, const Tensor& direction, bool adjoint) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const std::int64_t in_channels = padded_channels(block.in_channels);
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

std::int64_t ConvNetTangent::input_size(std::size_t b) const {
  return (b > 0 ? 2 : 1) * plan_.blocks()[b].in().image_size();
}

void ConvNetTangent::lay_out_group() {
  std::int64_t end = 0;
  const auto take = [&](std::int64_t floats) {
    const std::int64_t offset = end;
    end += std::min(plan_.group(), plan_.images().size(0)) * floats;
    return offset;
  };
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const MapShape& map = plan_.blocks()[b].map;
    blocks_[b].mean = take(map.channels);
    blocks_[b].rstd = take(map.channels);
    if (direct(b)) continue;
    blocks_[b].input = take(input_size(b));
    blocks_[b].map = take(map.image_size());
  }
  output_ = take(2 * plan_.blocks().back().out.image_size());
  group_floats_ = end;
}

void ConvNetTangent::allocate_sums(std::int64_t parts) {
  const Tensor& x = plan_.images();
  const ConvNetPlan::Block& last = plan_.blocks().back();
  const auto options = x.options().requires_grad(false);
  features_ = at::empty({x.size(0), last.out_channels * last.out.pixels()}, options);
  if (wanted_.images) images_ = at::empty_like(x);
  for (std::size_t b = 0; wanted_.parameters && b < blocks_.size(); ++b) {
    const ConvNetPlan::Block& block = plan_.blocks()[b];
    const std::int64_t rows =
        direct(b) ? plan_.direct().taps() : kWinogradPositions * padded_channels(block.in_channels);
    blocks_[b].weight_sums = at::zeros({parts, rows, block.map.channels}, options);
    blocks_[b].norm_sums = at::zeros({parts, kTangentSumRows, block.map.channels}, options);
  }
}

ConvNetTangent::Result ConvNetTangent::run(const Cotangent& cotangent, std::int64_t parts) {
  allocate_sums(parts);
  const std::int64_t most = plan_.group();
  for_parts(
      parts, plan_.images().size(0), [&](std::int64_t part, std::int64_t first, std::int64_t end) {
        for (std::int64_t n = first; n < end; n += most) {
          const Group group{part, n, std::min(most, end - n), scratch(Slot::Group, group_floats_)};
          forward_group(group);
          const Tensor tgy = cotangent(n, features_.narrow(0, n, group.count));
          if (wants_gradients()) backward_group(group, tgy);
        }
      });
  Result result;
  result.features = features_;
  result.gradients.input = images_;
  if (wanted_.parameters) result.gradients.parameters = parameter_gradients();
  return result;
}

NormTangent ConvNetTangent::norm_input(std::size_t b, const Group& group, std::int64_t i) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const BlockTangent& tangent = blocks_[b];
  const std::int64_t channels = block.map.channels;
  return {.height = block.map.height,
          .width = block.map.width,
          .channels = channels,
          .z = at_image(saved_[b].map, group.first + i),
          .z_stride = channels,
          .tz = entry(group, tangent.map, i, block.map.image_size()),
          .tz_stride = channels,
          .channel_stride = channels,
          .weight = data(block.norm_weight),
          .bias = data(block.norm_bias),
          .tweight = data(tangent.norm_weight),
          .tbias = data(tangent.norm_bias),
          .mean = at_image(saved_[b].mean, group.first + i),
          .rstd = at_image(saved_[b].rstd, group.first + i),
          .fixed_statistics = plan_.has_fixed_statistics()};
}

NormTangent ConvNetTangent::direct_norm_input(const Group& group, std::int64_t i,
                                              const float* patches, std::int64_t first) const {
  const ConvNetPlan::Block& block = plan_.blocks()[0];
  const BlockTangent& tangent = blocks_[0];
  const DirectConvolution::Panel panel = joined_panel(first);
  float* const map = scratch(Slot::Map, block.map.pixels() * panel.stride);
  first_->forward(patches, data(tangent.forward), data(first_bias_), panel, map);
  return {.height = block.map.height,
          .width = block.map.width,
          .channels = kDirectPanel,
          .z = map,
          .z_stride = panel.stride,
          .tz = map + kDirectPanel,
          .tz_stride = panel.stride,
          .channel_stride = block.map.channels,
          .weight = data(block.norm_weight) + first,
          .bias = data(block.norm_bias) + first,
          .tweight = data(tangent.norm_weight) + first,
          .tbias = data(tangent.norm_bias) + first,
          .mean = at_image(saved_[0].mean, group.first + i) + first,
          .rstd = at_image(saved_[0].rstd, group.first + i) + first,
          .fixed_statistics = plan_.has_fixed_statistics()};
}

float* ConvNetTangent::sum_row(std::size_t b, const Group& group, std::int64_t row,
                               std::int64_t first) const {
  return at_image(blocks_[b].norm_sums, group.part) + row * plan_.blocks()[b].map.channels + first;
}

std::optional<NormTangentSums> ConvNetTangent::norm_sums(std::size_t b, const Group& group,
                                                         std::int64_t first) const {
  if (!wanted_.parameters) return std::nullopt;
  return NormTangentSums{.tgweight = sum_row(b, group, kNormWeightRow, first),
                         .tgbias = sum_row(b, group, kNormBiasRow, first),
                         .gbias = sum_row(b, group, kNormBiasValueRow, first)};
}

// A group's statistics take all channels before the first of them goes on; panels that are computed
// are computed twice then.
void ConvNetTangent::norm_forward(std::size_t b, const Group& group, std::int64_t i,
                                  const NormInput& input, float* out) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const std::int64_t channels = block.map.channels;
  float* const tmean = entry(group, blocks_[b].mean, i, channels);
  float* const trstd = entry(group, blocks_[b].rstd, i, channels);
  const bool shared = block.shares_statistics();
  for (std::int64_t c = 0; c < channels; c += panel(b)) {
    const NormTangent in = input(c);
    loops_.norm_tangent_statistics(in, tmean + c, trstd + c);
    if (!shared) loops_.norm_relu_pool_tangent(in, tmean + c, trstd + c, out + c);
  }
  if (!shared) return;
  share_means(block, tmean);
  share_means(block, trstd);
  for (std::int64_t c = 0; c < channels; c += panel(b)) {
    loops_.norm_relu_pool_tangent(input(c), tmean + c, trstd + c, out + c);
  }
}

const float* ConvNetTangent::add_norm_sums_and_share(std::size_t b, const Group& group,
                                                     std::int64_t i, const NormInput& input,
                                                     const float* tgout) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  if (!block.shares_statistics()) return nullptr;
  const std::int64_t channels = block.map.channels;
  const float* const tmean = entry(group, blocks_[b].mean, i, channels);
  const float* const trstd = entry(group, blocks_[b].rstd, i, channels);
  const float* const gout = at_image(saved_[b].gout, group.first + i);
  constexpr std::int64_t kMeans = 4;
  float* const means = scratch(Slot::Statistics, kMeans * channels);
  for (std::int64_t c = 0; c < channels; c += panel(b)) {
    const auto sums = norm_sums(b, group, c);
    loops_.norm_gradient_tangent_means(input(c), tmean + c, trstd + c, gout + c, tgout + c,
                                       means + c, sums ? &*sums : nullptr);
  }
  for (std::int64_t k = 0; k < kMeans; ++k) share_means(block, means + k * channels);
  return means;
}

void ConvNetTangent::norm_backward(std::size_t b, const Group& group, std::int64_t i,
                                   const NormTangent& input, std::int64_t first, const float* means,
                                   const float* tgout, float* gmap) const {
  const std::int64_t channels = plan_.blocks()[b].map.channels;
  const float* const tmean = entry(group, blocks_[b].mean, i, channels) + first;
  const float* const trstd = entry(group, blocks_[b].rstd, i, channels) + first;
  const float* const gout = at_image(saved_[b].gout, group.first + i) + first;
  if (means) {
    float* const tgbias =
        wanted_.parameters ? sum_row(b, group, kConvolutionBiasRow, first) : nullptr;
    loops_.norm_relu_pool_group_gradient_tangent(input, tmean, trstd, gout, tgout + first,
                                                 means + first, gmap, tgbias);
  } else {
    const auto sums = norm_sums(b, group, first);
    loops_.norm_relu_pool_gradient_tangent(input, tmean, trstd, gout, tgout + first, gmap,
                                           sums ? &*sums : nullptr);
  }
}

void ConvNetTangent::forward_group(const Group& group) const {
  if (!first_) {
    const ConvNetPlan::Block& block = plan_.blocks()[0];
    const MapShape shape = block.in();
    for (std::int64_t i = 0; i < group.count; ++i) {
      loops_.to_channels_last(at_image(plan_.images(), group.first + i), block.in_channels,
                              shape.pixels(), shape.channels,
                              entry(group, blocks_[0].input, i, shape.image_size()));
    }
  }
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    float* const out = group.memory + (b + 1 < blocks_.size() ? blocks_[b + 1].input : output_);
    if (direct(b)) {
      forward_direct(group, out);
    } else {
      forward_block(b, group, out);
    }
  }
  const ConvNetPlan::Block& last = plan_.blocks().back();
  const MapShape& out = last.out;
  for (std::int64_t i = 0; i < group.count; ++i) {
    loops_.to_channels_first(entry(group, output_, i, 2 * out.image_size()) + out.channels,
                             2 * out.channels, last.out_channels, out.pixels(),
                             at_image(features_, group.first + i));
  }
}

void ConvNetTangent::forward_block(std::size_t b, const Group& group, float* out) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const BlockTangent& own = blocks_[b];
  const std::int64_t channels = block.map.channels;
  MapShape shape = block.in();
  shape.channels *= b > 0 ? 2 : 1;
  float* const memory = scratch(Slot::Convolve, loops_.convolve_scratch(shape.channels, channels));
  for (std::int64_t i = 0; i < group.count; i += block.step) {
    shape.count = std::min(block.step, group.count - i);
    loops_.convolve(entry(group, own.input, i, input_size(b)), shape, data(own.forward),
                    data(own.bias), channels, entry(group, own.map, i, block.map.image_size()),
                    memory);
    for (std::int64_t k = i; k < i + shape.count; ++k) {
      norm_forward(
          b, group, k, [&](std::int64_t) { return norm_input(b, group, k); },
          out + k * 2 * block.out.image_size());
    }
  }
}

void ConvNetTangent::forward_direct(const Group& group, float* out) const {
  const std::int64_t out_size = 2 * plan_.blocks()[0].out.image_size();
  for (std::int64_t i = 0; i < group.count; ++i) {
    const float* const patches = first_->gather(at_image(plan_.images(), group.first + i));
    norm_forward(
        0, group, i, [&](std::int64_t c) { return direct_norm_input(group, i, patches, c); },
        out + i * out_size);
  }
}

void ConvNetTangent::backward_group(const Group& group, const Tensor& tgy) const {
  const ConvNetPlan::Block& last = plan_.blocks().back();
  Slot slot = Slot::Even;
  float* tgout = scratch(slot, group.count * last.out.image_size());
  for (std::int64_t i = 0; i < group.count; ++i) {
    loops_.to_channels_last(at_image(tgy, i), last.out_channels, last.out.pixels(),
                            last.out.channels, tgout + i * last.out.image_size());
  }
  for (std::size_t b = blocks_.size(); b-- > 0;) {
    if (direct(b)) return backward_direct(group, tgout);
    slot = other(slot);
    float* const tgin = blocks_[b].adjoint.defined()
                            ? scratch(slot, group.count * plan_.blocks()[b].in().image_size())
                            : nullptr;
    backward_block(b, group, tgout, tgin);
    tgout = tgin;
  }
  const MapShape in = plan_.blocks()[0].in();
  for (std::int64_t i = 0; wanted_.images && i < group.count; ++i) {
    loops_.to_channels_first(tgout + i * in.image_size(), in.channels,
                             plan_.blocks()[0].in_channels, in.pixels(),
                             at_image(images_, group.first + i));
  }
}

void ConvNetTangent::backward_block(std::size_t b, const Group& group, const float* tgout,
                                    float* tgin) const {
  const ConvNetPlan::Block& block = plan_.blocks()[b];
  const BlockTangent& own = blocks_[b];
  const MapShape in = block.in();
  const std::int64_t channels = block.map.channels;
  const std::int64_t step = std::min(block.step, group.count);
  float* const gmap = scratch(Slot::Gradient, step * 2 * block.map.image_size());
  float* const memory =
      scratch(Slot::Convolve, std::max(2 * loops_.convolve_scratch(in.channels, channels),
                                       loops_.convolve_scratch(2 * channels, in.channels)));
  for (std::int64_t i = 0; i < group.count; i += step) {
    const std::int64_t images = std::min(step, group.count - i);
    for (std::int64_t k = 0; k < images; ++k) {
      const NormTangent input = norm_input(b, group, i + k);
      const float* const above = tgout + (i + k) * block.out.image_size();
      const float* const means = add_norm_sums_and_share(
          b, group, i + k, [&](std::int64_t) { return input; }, above);
      norm_backward(b, group, i + k, input, 0, means, above, gmap + k * 2 * block.map.image_size());
    }
    if (wanted_.parameters) {
      const float* const x = entry(group, own.input, i, input_size(b));
      const bool tangents = b > 0;  // images have none
      loops_.convolve_weight_gradient_tangent(
          {x, tangents ? x + in.channels : nullptr, input_size(b) / in.pixels()},
          {images, in.height, in.width, in.channels}, {gmap, gmap + channels, 2 * channels},
          channels, at_image(own.weight_sums, group.part), memory);
    }
    if (tgin) {
      loops_.convolve(gmap, {images, in.height, in.width, 2 * channels}, data(own.adjoint), nullptr,
                      in.channels, tgin + i * in.image_size(), memory);
    }
  }
}

void ConvNetTangent::backward_direct(const Group& group, const float* tgout) const {
  const ConvNetPlan::Block& block = plan_.blocks()[0];
  const BlockTangent& own = blocks_[0];
  const std::int64_t channels = block.map.channels;
  float* const gmap = scratch(Slot::Gradient, block.map.pixels() * joined_panel(0).stride);
  float* const rows = first_->gradient_rows();
  for (std::int64_t i = 0; i < group.count; ++i) {
    // As in the value's own pass the map is cheaper to compute again than to fetch.
    const float* const patches = first_->gather(at_image(plan_.images(), group.first + i));
    const NormInput input = [&](std::int64_t c) { return direct_norm_input(group, i, patches, c); };
    const float* const above = tgout + i * block.out.image_size();
    const float* const means = add_norm_sums_and_share(0, group, i, input, above);
    for (std::int64_t c = 0; c < channels; c += kDirectPanel) {
      const DirectConvolution::Panel joined = joined_panel(c);
      norm_backward(0, group, i, input(c), c, means, above, gmap);
      if (wanted_.parameters) {
        plan_.direct().weight_gradient(patches, gmap + kDirectPanel,
                                       {c, kDirectPanel, joined.stride},
                                       at_image(own.weight_sums, group.part));
      }
      if (wanted_.images) first_->input_gradient_rows(gmap, data(own.adjoint), joined, rows);
    }
    if (wanted_.images) first_->scatter(rows, at_image(images_, group.first + i));
  }
}

Tensors ConvNetTangent::parameter_gradients() const {
  Tensors result;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const std::int64_t channels = plan_.blocks()[b].out_channels;
    const Tensor sums = sum_of_parts(blocks_[b].norm_sums);
    result.push_back(plan_.finished_weight(b, sum_of_parts(blocks_[b].weight_sums)));
    result.push_back(bias_gradient(b, sums).narrow(0, 0, channels).clone());
    result.push_back(sums[kNormWeightRow].narrow(0, 0, channels).clone());
    result.push_back(sums[kNormBiasRow].narrow(0, 0, channels).clone());
  }
  return result;
}

// A norm with a channel's own statistics takes the mean out, and the bias with it: nothing was
// added then. One with fixed statistics hands on rstd weight times its own bias's gradient.
Tensor ConvNetTangent::bias_gradient(std::size_t b, const Tensor& sums) const {
  if (!plan_.has_fixed_statistics()) return sums[kConvolutionBiasRow];
  const Tensor own = blocks_[b].norm_weight * sums[kNormBiasValueRow] +
                     plan_.blocks()[b].norm_weight * sums[kNormBiasRow];
  return own * saved_[b].rstd[0];
}

}  // namespace retort::kernels
