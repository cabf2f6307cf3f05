#include "lib/kernels/convnet_plan.h"

#include <algorithm>

#include "lib/kernels/common.h"

namespace retort::kernels {
namespace {

constexpr std::size_t kSavedPerBlock = 4;       // tensors that a node keeps
constexpr std::int64_t kGroupImages = 12;       // 8x8 maps then fill one block of tiles
constexpr std::int64_t kGroupFloats = 1 << 20;  // of the largest map of a group

}  // namespace

bool any_weight_requires_grad(at::TensorList parameters) {
  for (std::size_t i = 0; i < parameters.size(); i += kParametersPerBlock) {
    if (parameters[i].requires_grad()) return true;
  }
  return false;
}

Tensors flattened(const std::vector<SavedBlock>& blocks) {
  Tensors saved;
  for (const SavedBlock& block : blocks) {
    saved.insert(saved.end(), {block.input, block.map, block.mean, block.rstd});
  }
  return saved;
}

std::vector<SavedBlock> unflattened(at::TensorList saved) {
  std::vector<SavedBlock> blocks;
  for (std::size_t i = 0; i < saved.size(); i += kSavedPerBlock) {
    blocks.push_back({saved[i], saved[i + 1], saved[i + 2], saved[i + 3]});
  }
  return blocks;
}

ConvNetPlan::ConvNetPlan(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape)
    : loops_(*best_loops()), x_(x), parameters_(parameters), shape_(shape) {
  MapShape in{1, x.size(2), x.size(3), x.size(1)};
  std::int64_t largest = 1;
  for (std::int64_t b = 0; b < shape.depth; ++b) {
    Block block;
    const Tensor* const p = &parameters_[kParametersPerBlock * std::size_t(b)];
    block.in_channels = in.channels;
    block.out_channels = p[0].size(0);
    const std::int64_t channels = padded_channels(block.out_channels);
    const std::int64_t grow = b == 0 ? 2 * shape.first_padding - 2 : 0;
    block.map = {1, in.height + grow, in.width + grow, channels};
    block.out = {1, block.map.height / 2, block.map.width / 2, channels};
    block.norm_group = block.out_channels / shape.groups_of(block.out_channels);
    block.bias = padded_vector(p[1], channels);
    block.norm_weight = padded_vector(p[2], channels);
    block.norm_bias = padded_vector(p[3], channels);
    const std::int64_t tiles = (block.map.height + 3) / 4 * ((block.map.width + 3) / 4);
    block.step = std::max<std::int64_t>(1, kWinogradTiles / tiles);
    if (b == 0 && in.channels <= kMostDirectChannels) {
      direct_.emplace(loops_, in.channels, in.height, in.width, shape.first_padding,
                      block.out_channels);
    } else {
      largest = std::max(largest, block.map.image_size());
    }
    in = {1, block.out.height, block.out.width, block.out_channels};
    blocks_.push_back(block);
  }
  group_ = std::clamp<std::int64_t>(kGroupFloats / largest, 1, kGroupImages);
}

Tensor ConvNetPlan::transformed_weight(std::size_t block, bool adjoint) const {
  const Tensor& taps = weight(block);
  if (block == 0 && direct_) {
    return adjoint ? direct_->pack_adjoint(taps) : direct_->pack(taps);
  }
  const Block& b = blocks_[block];
  const Tensor result =
      at::empty({kWinogradPositions * padded_channels(b.in_channels) * b.map.channels},
                taps.options().requires_grad(false));
  loops_.transform_weight(taps.const_data_ptr<float>(), b.out_channels, b.in_channels, adjoint,
                          result.mutable_data_ptr<float>());
  return result;
}

Tensors ConvNetPlan::transformed_weights() const {
  Tensors weights;
  for (std::size_t b = 0; b < blocks_.size(); ++b) weights.push_back(transformed_weight(b, false));
  return weights;
}

std::vector<SavedBlock> ConvNetPlan::allocate_saved(bool inputs) const {
  const std::int64_t n = x_.size(0);
  const auto options = x_.options().requires_grad(false);
  std::vector<SavedBlock> saved(blocks_.size());
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    const bool direct = b == 0 && direct_;
    const MapShape in = block.in();
    saved[b].mean = at::empty({n, block.map.channels}, options);
    saved[b].rstd = at::empty({n, block.map.channels}, options);
    if (!direct) {
      saved[b].map = at::empty({n, block.map.height, block.map.width, block.map.channels}, options);
    }
    if (!direct && inputs) {
      saved[b].input = at::empty({n, in.height, in.width, in.channels}, options);
    }
  }
  return saved;
}

void ConvNetPlan::allocate_cotangents(std::vector<SavedBlock>& saved) const {
  const auto options = x_.options().requires_grad(false);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const MapShape& out = blocks_[b].out;
    saved[b].gout = at::empty({x_.size(0), out.height, out.width, out.channels}, options);
  }
}

Tensor ConvNetPlan::forward(std::vector<SavedBlock>* saved, bool inputs) const {
  if (saved) *saved = allocate_saved(inputs);
  const Tensors weights = transformed_weights();
  const Block& last = blocks_.back();
  const Tensor features = at::empty({x_.size(0), last.out_channels * last.out.pixels()},
                                    x_.options().requires_grad(false));
  for_ranges(x_.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t n = first; n < end; n += group_) {
      forward_group(n, std::min(group_, end - n), weights, saved, at_image(features, n));
    }
  });
  return features;
}

void ConvNetPlan::forward_group(std::int64_t first, std::int64_t count, const Tensors& weights,
                                std::vector<SavedBlock>* saved, float* features) const {
  Slot slot = Slot::Even;
  const auto saved_block = [&](std::size_t b) { return saved ? &(*saved)[b] : nullptr; };
  // Where the input of block b is to be written.
  const auto input_of = [&](std::size_t b, std::int64_t floats) {
    slot = other(slot);
    const bool keep = saved && b < blocks_.size() && (*saved)[b].input.defined();
    return keep ? (*saved)[b].input_at(first) : scratch(slot, count * floats);
  };
  const float* in = nullptr;
  if (!direct_) {
    const Block& block = blocks_[0];
    const MapShape shape = block.in();
    float* const turned = input_of(0, shape.image_size());
    for (std::int64_t i = 0; i < count; ++i) {
      loops_.to_channels_last(at_image(x_, first + i), block.in_channels, shape.pixels(),
                              shape.channels, turned + i * shape.image_size());
    }
    in = turned;
  }
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    float* const out = input_of(b + 1, blocks_[b].out.image_size());
    const float* const weight = weights[b].const_data_ptr<float>();
    if (b == 0 && direct_) {
      forward_direct(first, count, weight, saved_block(b), out);
    } else {
      forward_block(b, first, count, in, weight, saved_block(b), out);
    }
    in = out;
  }
  const Block& last = blocks_.back();
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_first(in + i * last.out.image_size(), last.out.channels, last.out_channels,
                             last.out.pixels(),
                             features + i * last.out_channels * last.out.pixels());
  }
}

void ConvNetPlan::forward_direct(std::int64_t first, std::int64_t count, const float* weight,
                                 SavedBlock* saved, float* out) const {
  const Block& block = blocks_[0];
  float* const map = scratch(Slot::Map, block.map.image_size());
  for (std::int64_t i = 0; i < count; ++i) {
    direct_->forward(direct_->gather(at_image(x_, first + i)), weight,
                     block.bias.const_data_ptr<float>(), map);
    norm_relu_pool(0, first + i, map, saved, out + i * block.out.image_size());
  }
}

void ConvNetPlan::forward_block(std::size_t b, std::int64_t first, std::int64_t count,
                                const float* in, const float* weight, SavedBlock* saved,
                                float* out) const {
  const Block& block = blocks_[b];
  MapShape shape = block.in();
  float* const memory =
      scratch(Slot::Convolve, loops_.convolve_scratch(shape.channels, block.map.channels));
  for (std::int64_t i = 0; i < count; i += block.step) {
    shape.count = std::min(block.step, count - i);
    float* const map = saved ? at_image(saved->map, first + i)
                             : scratch(Slot::Map, block.step * block.map.image_size());
    loops_.convolve(in + i * shape.image_size(), shape, weight, block.bias.const_data_ptr<float>(),
                    block.map.channels, map, memory);
    for (std::int64_t k = 0; k < shape.count; ++k) {
      norm_relu_pool(b, first + i + k, map + k * block.map.image_size(), saved,
                     out + (i + k) * block.out.image_size());
    }
  }
}

void ConvNetPlan::norm_relu_pool(std::size_t b, std::int64_t image, const float* map,
                                 SavedBlock* saved, float* out) const {
  const Block& block = blocks_[b];
  float* const unused = saved ? nullptr : scratch(Slot::Statistics, 2 * block.map.channels);
  loops_.norm_relu_pool(map, block.map, block.norm_weight.const_data_ptr<float>(),
                        block.norm_bias.const_data_ptr<float>(), float(shape_.eps), out,
                        saved ? at_image(saved->mean, image) : unused,
                        saved ? at_image(saved->rstd, image) : unused + block.map.channels);
}

}  // namespace retort::kernels
