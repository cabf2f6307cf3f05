#include "lib/kernels/convnet_batch_norm.h"

#include <algorithm>
#include <utility>

namespace retort::kernels {
namespace {

// Weight gradients are summed in so many parts of the batch at most, and then over the parts.
constexpr std::int64_t kMostParts = 8;
constexpr std::int64_t kImagesPerPart = 8;

std::int64_t weight_parts(std::int64_t n) {
  return std::min(kMostParts, (n + kImagesPerPart - 1) / kImagesPerPart);
}

}  // namespace

struct BatchNormPlan::Norm {
  Tensor scale;  // [padded channels]
  Affine affine;

  Norm(const Block& block, const SavedBlock& own)
      : scale(own.rstd * block.norm_weight),
        affine{own.mean.const_data_ptr<float>(), scale.const_data_ptr<float>(),
               block.norm_bias.const_data_ptr<float>()} {}
};

struct BatchNormPlan::Sums {
  Tensor gweight, gbias;  // of the norm, [padded channels]
  Tensor shift, slope;    // as Loops::affine_relu_pool_gradient takes them
};

struct BatchNormPlan::Convolution {
  std::int64_t parts = 1;  // of the batch
  Tensor adjoint;          // weight for the input's gradient
  Tensor gin;              // [N,...] like the block's input: pooled maps or images; or undefined
  Tensor gweight;          // [parts,...] as the loops sum it up; or undefined
};

BatchNormPlan::BatchNormPlan(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape,
                             int power, RunningStatistics running)
    : AttentionPlan(x, parameters, shape, power), running_(std::move(running)) {
  if (direct_) first_weight_ = transformed_weight(0, false);
}

// A direct block's map is lost at the next call.
const float* BatchNormPlan::map_of(std::size_t b, std::int64_t image, const Blocks& blocks) const {
  if (!is_direct(b)) return at_image(blocks[b].map, image);
  float* const map = scratch(Slot::Map, blocks_[0].map.image_size());
  direct_->forward(direct_->gather(at_image(x_, image)), first_weight_.const_data_ptr<float>(),
                   blocks_[0].bias.const_data_ptr<float>(), map);
  return map;
}

void BatchNormPlan::pool(std::size_t b, std::int64_t first, std::int64_t count,
                         const Blocks& blocks, const Norm& norm, float* out) const {
  const Block& block = blocks_[b];
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.affine_relu_pool(map_of(b, first + i, blocks), block.map, norm.affine, power_,
                            out + i * block.out.image_size(), attention_of(b, first + i));
  }
}

const float* BatchNormPlan::input_of(std::size_t b, std::int64_t first, std::int64_t count,
                                     const Blocks& blocks, const Norm* below) const {
  const Block& block = blocks_[b];
  const MapShape in = block.in();
  float* const maps = blocks[b].input.defined() ? at_image(blocks[b].input, first)
                                                : scratch(Slot::Even, count * in.image_size());
  if (below) {
    pool(b - 1, first, count, blocks, *below, maps);
    return maps;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_last(at_image(x_, first + i), block.in_channels, in.pixels(), in.channels,
                            maps + i * in.image_size());
  }
  return maps;
}

// Writes the block's map, if it is kept; returns [N,2,channels] mean and squares of every image.
Tensor BatchNormPlan::convolve(std::size_t b, const Blocks& blocks) const {
  const Block& block = blocks_[b];
  const std::int64_t channels = block.map.channels;
  const MapShape in = block.in();
  const Tensor images = at::empty({x_.size(0), 2, channels}, x_.options());
  const Tensor weight = is_direct(b) ? first_weight_ : transformed_weight(b, false);
  std::optional<Norm> below;
  if (b > 0) below.emplace(blocks_[b - 1], blocks[b - 1]);
  for_ranges(x_.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; i += block.step) {
      const std::int64_t count = std::min(block.step, end - i);
      if (!is_direct(b)) {
        const float* const maps = input_of(b, i, count, blocks, below ? &*below : nullptr);
        loops_.convolve(maps, {count, in.height, in.width, in.channels},
                        weight.const_data_ptr<float>(), block.bias.const_data_ptr<float>(),
                        channels, at_image(blocks[b].map, i),
                        scratch(Slot::Convolve, loops_.convolve_scratch(in.channels, channels)));
      }
      for (std::int64_t k = i; k < i + count; ++k) {
        loops_.image_statistics(map_of(b, k, blocks), block.map, at_image(images, k),
                                at_image(images, k) + channels);
      }
    }
  });
  return images;
}

void BatchNormPlan::set_statistics(std::size_t b, const Tensor& images, SavedBlock& own) const {
  const Tensor means = images.select(1, 0).to(at::kDouble);
  const auto pixels = double(blocks_[b].map.pixels());
  const double count = pixels * double(x_.size(0));
  const Tensor mean = wide_sum(means) / double(x_.size(0));
  const Tensor squares = wide_sum(images.select(1, 1) + pixels * (means - mean).square());
  own.mean = mean.to(at::kFloat);
  own.rstd = (squares / count + shape_.eps).rsqrt().to(at::kFloat);
  update_running(b, mean, squares / (count - 1));
}

void BatchNormPlan::update_running(std::size_t b, const Tensor& mean,
                                   const Tensor& unbiased) const {
  if (running_.buffers.empty()) return;
  const double momentum = running_.momentum;
  const auto move = [&](const Tensor& buffer, const Tensor& seen) {
    const Tensor real = seen.narrow(0, 0, blocks_[b].out_channels);
    buffer.copy_(buffer.to(at::kDouble) * (1 - momentum) + momentum * real);
  };
  move(running_.buffers[2 * b], mean);
  move(running_.buffers[2 * b + 1], unbiased);
}

Tensor BatchNormPlan::pooled_features(const Blocks& blocks) const {
  const Block& last = blocks_.back();
  const Norm norm(last, blocks.back());
  const Tensor features =
      at::empty({x_.size(0), last.out_channels * last.out.pixels()}, x_.options());
  for_ranges(x_.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    float* const out = scratch(Slot::Even, last.out.image_size());
    for (std::int64_t i = first; i < end; ++i) {
      pool(blocks_.size() - 1, i, 1, blocks, norm, out);
      loops_.to_channels_first(out, last.out.channels, last.out_channels, last.out.pixels(),
                               at_image(features, i));
    }
  });
  return features;
}

Tensor BatchNormPlan::forward(std::vector<SavedBlock>* saved, bool inputs) const {
  const std::int64_t n = x_.size(0);
  Blocks blocks(blocks_.size());
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const MapShape& map = blocks_[b].map;
    const MapShape in = blocks_[b].in();
    if (!is_direct(b)) {
      blocks[b].map = at::empty({n, map.height, map.width, map.channels}, x_.options());
      if (inputs) {
        blocks[b].input = at::empty({n, in.height, in.width, in.channels}, x_.options());
      }
    }
    set_statistics(b, convolve(b, blocks), blocks[b]);
    if (!saved && b > 0) blocks[b - 1].map = Tensor();
  }
  const Tensor features = pooled_features(blocks);
  if (saved) *saved = std::move(blocks);
  return features;
}

// [N,F] to the last block's pooled maps.
Tensor BatchNormPlan::turned(const Tensor& gy) const {
  const Block& last = blocks_.back();
  const Tensor maps = at::empty({gy.size(0), last.out.image_size()}, gy.options());
  for_ranges(gy.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      loops_.to_channels_last(at_image(gy, i), last.out_channels, last.out.pixels(),
                              last.out.channels, at_image(maps, i));
    }
  });
  return maps;
}

BatchNormPlan::Sums BatchNormPlan::sum_gradients(std::size_t b, const Blocks& blocks,
                                                 const Tensor& gout) const {
  const Block& block = blocks_[b];
  const Norm norm(block, blocks[b]);
  const Tensor images = at::empty({x_.size(0), 2, block.map.channels}, x_.options());
  for_ranges(x_.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      loops_.affine_relu_pool_sums(map_of(b, i, blocks), block.map, norm.affine, power_,
                                   at_image(gout, i), attention_gradient_of(b, i),
                                   at_image(images, i), at_image(images, i) + block.map.channels);
    }
  });
  const Tensor total_g = wide_sum(images.select(1, 0));
  const Tensor total_gd = wide_sum(images.select(1, 1));
  const Tensor rstd = blocks[b].rstd.to(at::kDouble);
  const double count = double(x_.size(0)) * double(block.map.pixels());
  const Tensor scale = norm.scale.to(at::kDouble) / count;
  const auto single = [](const Tensor& t) { return t.to(at::kFloat); };
  return {single(total_gd * rstd), single(total_g), single(scale * total_g),
          single(scale * rstd.square() * total_gd)};
}

BatchNormPlan::Convolution BatchNormPlan::start_convolution(std::size_t b, bool input,
                                                            bool weight) const {
  const std::int64_t n = x_.size(0);
  const MapShape in = blocks_[b].in();
  Convolution result;
  result.parts = weight ? weight_parts(n) : range_count(n);
  if (input) {
    result.adjoint = transformed_weight(b, true);
    result.gin = b == 0 ? at::empty_like(x_) : at::empty({n, in.image_size()}, x_.options());
  }
  if (weight) {
    const std::int64_t rows = is_direct(b) ? direct_->taps() : kWinogradPositions * in.channels;
    result.gweight = at::zeros({result.parts, rows, blocks_[b].map.channels}, x_.options());
  }
  return result;
}

void BatchNormPlan::propagate(std::size_t b, const Blocks& blocks, const Tensor& gout,
                              const Sums& sums, Convolution& convolution) const {
  const Block& block = blocks_[b];
  const Norm norm(block, blocks[b]);
  const std::int64_t step = is_direct(b) ? 1 : block.step;
  for_parts(
      convolution.parts, x_.size(0), [&](std::int64_t part, std::int64_t first, std::int64_t end) {
        for (std::int64_t i = first; i < end; i += step) {
          const std::int64_t count = std::min(step, end - i);
          float* const gmap = scratch(Slot::Gradient, step * block.map.image_size());
          for (std::int64_t k = 0; k < count; ++k) {
            loops_.affine_relu_pool_gradient(
                map_of(b, i + k, blocks), block.map, norm.affine, power_, at_image(gout, i + k),
                attention_gradient_of(b, i + k), sums.shift.const_data_ptr<float>(),
                sums.slope.const_data_ptr<float>(), gmap + k * block.map.image_size(), nullptr);
          }
          if (is_direct(b)) {
            propagate_direct(i, gmap, convolution, part);
          } else {
            propagate_group(b, i, count, blocks, gmap, convolution, part);
          }
        }
      });
}

void BatchNormPlan::propagate_direct(std::int64_t image, const float* gmap,
                                     Convolution& convolution, std::int64_t part) const {
  if (convolution.gweight.defined()) {
    direct_->weight_gradient(direct_->gather(at_image(x_, image)), gmap,
                             at_image(convolution.gweight, part));
  }
  if (convolution.gin.defined()) {
    direct_->input_gradient(gmap, convolution.adjoint.const_data_ptr<float>(),
                            at_image(convolution.gin, image));
  }
}

void BatchNormPlan::propagate_group(std::size_t b, std::int64_t first, std::int64_t count,
                                    const Blocks& blocks, const float* gmap,
                                    Convolution& convolution, std::int64_t part) const {
  const Block& block = blocks_[b];
  const MapShape in = block.in();
  const std::int64_t channels = block.map.channels;
  float* const memory =
      scratch(Slot::Convolve, std::max(loops_.convolve_scratch(in.channels, channels),
                                       loops_.convolve_scratch(channels, in.channels)));
  if (convolution.gweight.defined()) {
    loops_.convolve_weight_gradient(at_image(blocks[b].input, first),
                                    {count, in.height, in.width, in.channels}, gmap, channels,
                                    at_image(convolution.gweight, part), memory);
  }
  const Tensor& gin = convolution.gin;
  if (!gin.defined()) return;
  float* const maps = b == 0 ? scratch(Slot::Odd, count * in.image_size()) : at_image(gin, first);
  loops_.convolve(gmap, {count, in.height, in.width, channels},
                  convolution.adjoint.const_data_ptr<float>(), nullptr, in.channels, maps, memory);
  if (b > 0) return;
  for (std::int64_t k = 0; k < count; ++k) {
    loops_.to_channels_first(maps + k * in.image_size(), in.channels, block.in_channels,
                             in.pixels(), at_image(gin, first + k));
  }
}

ConvNetGradients BatchNormPlan::backward(const std::vector<SavedBlock>& saved, const Tensor& gy,
                                         const WantedGradients& wanted) const {
  ConvNetGradients result;
  result.parameters.resize(kParametersPerBlock * blocks_.size());
  const std::size_t lowest = lowest_block(wanted);
  Tensor gout = turned(gy);
  for (std::size_t b = blocks_.size(); b-- > lowest;) {
    const std::size_t first = kParametersPerBlock * b;
    const Sums sums = sum_gradients(b, saved, gout);
    const auto keep = [&](std::size_t k, const Tensor& gradient) {
      if (!wanted.parameters[first + k]) return;
      result.parameters[first + k] = gradient.narrow(0, 0, blocks_[b].out_channels).clone();
    };
    keep(1, at::zeros_like(sums.gbias));
    keep(2, sums.gweight);
    keep(3, sums.gbias);
    const bool want_input = b > lowest || wanted.input;
    const bool want_weight = wanted.parameters[first];
    if (!want_input && !want_weight) break;
    Convolution convolution = start_convolution(b, want_input, want_weight);
    propagate(b, saved, gout, sums, convolution);
    if (want_weight) {
      result.parameters[first] = finished_weight(b, sum_of_parts(convolution.gweight));
    }
    gout = convolution.gin;
  }
  if (wanted.input) result.input = gout;
  return result;
}

}  // namespace retort::kernels
