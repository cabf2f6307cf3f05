#include "lib/kernels/convnet_attention.h"

#include <algorithm>
#include <cmath>

#include "lib/kernels/convnet_group_norm.h"

namespace retort::kernels {

FixedStatistics fixed_statistics(std::span<const Tensor> buffers, double eps) {
  FixedStatistics result;
  for (std::size_t i = 0; i + 1 < buffers.size(); i += kBuffersPerBlock) {
    const Tensor variance = buffers[i + 1].to(at::kDouble);
    const std::int64_t channels = padded_channels(variance.size(0));
    result.mean.push_back(padded_vector(buffers[i], channels));
    result.rstd.push_back(padded_vector((variance + eps).rsqrt().to(at::kFloat), channels));
  }
  return result;
}

AttentionPlan::AttentionPlan(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape,
                             int power, std::optional<FixedStatistics> fixed)
    : ConvNetPlan(x, parameters, shape), power_(power), fixed_(std::move(fixed)) {
  if (power_ == 0) return;
  for (const Block& block : blocks_) {
    attention_.push_back(
        at::empty({x.size(0), block.map.pixels()}, x.options().requires_grad(false)));
  }
}

std::vector<SavedBlock> AttentionPlan::allocate_saved(bool inputs) const {
  std::vector<SavedBlock> saved = ConvNetPlan::allocate_saved(inputs);
  for (std::size_t b = 0; fixed_ && b < saved.size(); ++b) {
    saved[b].mean = fixed_->mean[b].expand({x_.size(0), -1});
    saved[b].rstd = fixed_->rstd[b].expand({x_.size(0), -1});
  }
  return saved;
}

void AttentionPlan::look_at_statistics() {
  for (const Block& block : blocks_) {
    moments_.push_back(
        at::empty({x_.size(0), 2, block.map.channels}, x_.options().requires_grad(false)));
  }
}

float* AttentionPlan::attention_of(std::size_t b, std::int64_t image) const {
  return power_ == 0 ? nullptr : at_image(attention_[b], image);
}

const float* AttentionPlan::attention_gradient_of(std::size_t b, std::int64_t image) const {
  const bool given = b < gattention_.size() && gattention_[b].defined();
  return given ? at_image(gattention_[b], image) : nullptr;
}

Affine AttentionPlan::affine(const Block& block, const float* mean, const float* rstd,
                             float* scale) const {
  const float* const weight = block.norm_weight.const_data_ptr<float>();
  for (std::int64_t c = 0; c < block.map.channels; ++c) scale[c] = rstd[c] * weight[c];
  return {mean, scale, block.norm_bias.const_data_ptr<float>()};
}

void AttentionPlan::own_statistics(const Block& block, const float* map, float* mean,
                                   float* rstd) const {
  loops_.image_statistics(map, block.map, mean, rstd);
  if (block.shares_statistics()) {
    share_statistics(block, shape_.eps, mean, rstd);
    return;
  }
  for (std::int64_t c = 0; c < block.map.channels; ++c) {
    rstd[c] = 1 / std::sqrt(rstd[c] / float(block.map.pixels()) + float(shape_.eps));
  }
}

void AttentionPlan::norm_relu_pool(std::size_t b, std::int64_t image, const float* map,
                                   SavedBlock* saved, float* out) const {
  const Block& block = blocks_[b];
  const std::int64_t channels = block.map.channels;
  float* const scale = scratch(Slot::Statistics, 3 * channels);
  const float* mean = nullptr;
  const float* rstd = nullptr;
  if (!moments_.empty()) {
    float* const moments = at_image(moments_[b], image);
    loops_.image_statistics(map, block.map, moments, moments + channels);
  }
  if (fixed_) {
    mean = fixed_->mean[b].const_data_ptr<float>();
    rstd = fixed_->rstd[b].const_data_ptr<float>();
  } else {
    float* const own_mean = saved ? at_image(saved->mean, image) : scale + channels;
    float* const own_rstd = saved ? at_image(saved->rstd, image) : scale + 2 * channels;
    own_statistics(block, map, own_mean, own_rstd);
    mean = own_mean;
    rstd = own_rstd;
  }
  loops_.affine_relu_pool(map, block.map, affine(block, mean, rstd, scale), power_, out,
                          attention_of(b, image));
}

void AttentionPlan::add_parameter_sums(std::size_t b, std::int64_t image, const float* map,
                                       const Affine& affine, const float* rstd, const float* gout,
                                       float* sums, float* sum_g, float* sum_gd) const {
  const MapShape& shape = blocks_[b].map;
  loops_.affine_relu_pool_sums(map, shape, affine, power_, gout, attention_gradient_of(b, image),
                               sum_g, sum_gd);
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    sums[kNormWeightRow * shape.channels + c] += sum_gd[c] * rstd[c];
    sums[kNormBiasRow * shape.channels + c] += sum_g[c];
  }
}

void AttentionPlan::norm_gradient(std::size_t b, std::int64_t image, const SavedBlock& saved,
                                  const float* map, const float* gout, float* gmap,
                                  float* sums) const {
  const Block& block = blocks_[b];
  const std::int64_t channels = block.map.channels;
  float* const scale = scratch(Slot::Statistics, 3 * channels);
  float* const sum_g = scale + channels;
  float* const sum_gd = sum_g + channels;
  const float* const rstd = at_image(saved.rstd, image);
  const Affine known = affine(block, at_image(saved.mean, image), rstd, scale);
  if (sums) add_parameter_sums(b, image, map, known, rstd, gout, sums, sum_g, sum_gd);
  const float* shift = sum_g;
  const float* slope = sum_gd;
  if (!gstatistics_.empty()) {
    const MapCotangent& own = gstatistics_[b];
    shift = at_image(own.shift, own.row(image));
    slope = at_image(own.slope, own.row(image));
  } else if (fixed_) {
    std::fill(sum_g, sum_gd + channels, 0.0F);  // statistics that do not answer to the map
  } else {
    share_gradient_sums(block, rstd, sum_g, sum_gd);
  }
  float* const sum_gmap =
      block.shares_statistics() ? sums + kConvolutionBiasRow * channels : nullptr;
  loops_.affine_relu_pool_gradient(map, block.map, known, power_, gout,
                                   attention_gradient_of(b, image), shift, slope, gmap, sum_gmap);
}

Tensor AttentionPlan::bias_gradient(std::size_t b, const Tensor& sums) const {
  if (!fixed_) return ConvNetPlan::bias_gradient(b, sums);
  const Tensor padded = sums[kNormBiasRow] * fixed_->rstd[b] * blocks_[b].norm_weight;
  const Tensor gradient = padded.narrow(0, 0, blocks_[b].out_channels);
  return gstatistics_.empty() ? gradient.clone() : gradient + gstatistics_[b].bias;
}

std::unique_ptr<ConvNetPlan> own_statistics_plan(const Tensor& x, const Tensors& parameters,
                                                 const ConvNetShape& shape) {
  for (std::size_t b = 0; b < std::size_t(shape.depth); ++b) {
    const std::int64_t channels = parameters[kParametersPerBlock * b].size(0);
    if (shape.groups_of(channels) < channels) {
      return std::make_unique<AttentionPlan>(x, parameters, shape, /*power=*/0);
    }
  }
  return std::make_unique<ConvNetPlan>(x, parameters, shape);
}

}  // namespace retort::kernels
