#include <algorithm>

#include "lib/kernels/common.h"
#include "lib/kernels/convnet_plan.h"

namespace retort::kernels {
namespace {

float* at_part(const Tensor& sums, std::int64_t part) {
  return sums.defined() ? at_image(sums, part) : nullptr;
}

}  // namespace

// Every part of the batch sums its gradients on its own; the sums are added in a fixed order.
struct ConvNetPlan::Pass {
  std::size_t lowest = 0;  // the first block that has anything to compute
  Tensor ginput;           // undefined if not wanted
  Tensors adjoint;         // per block: weights for the data gradient; undefined if not needed
  Tensors weight;          // per block [parts, transformed]; undefined if not wanted
  Tensors norm;            // per block [parts, kSumRows, channels]; undefined if not needed
  Tensor plain_weight;     // first block's, to recompute its map
};

std::size_t ConvNetPlan::lowest_block(const WantedGradients& wanted) const {
  if (wanted.input) return 0;
  const auto first = std::find(wanted.parameters.begin(), wanted.parameters.end(), true);
  const std::size_t lowest = std::size_t(first - wanted.parameters.begin()) / kParametersPerBlock;
  // The first block's cotangent comes out of the second block.
  return wanted.cotangents ? std::min<std::size_t>(lowest, 1) : lowest;
}

ConvNetPlan::Pass ConvNetPlan::start_pass(const WantedGradients& wanted, std::int64_t parts) const {
  Pass pass;
  const auto options = x_.options().requires_grad(false);
  pass.lowest = lowest_block(wanted);
  if (wanted.input) pass.ginput = at::empty_like(x_);
  pass.adjoint.resize(blocks_.size());
  pass.weight.resize(blocks_.size());
  pass.norm.resize(blocks_.size());
  for (std::size_t b = pass.lowest; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    const bool direct = b == 0 && direct_;
    const auto first = wanted.parameters.begin() + std::ptrdiff_t(kParametersPerBlock * b);
    // Statistics of a map's own need these sums for the map's gradient too.
    if (!has_fixed_statistics() || std::find(first + 1, first + 4, true) != first + 4) {
      pass.norm[b] = at::zeros({parts, kSumRows, block.map.channels}, options);
    }
    if (wanted.parameters[kParametersPerBlock * b]) {
      const std::int64_t rows =
          direct ? direct_->taps() : kWinogradPositions * padded_channels(block.in_channels);
      pass.weight[b] = at::zeros({parts, rows, block.map.channels}, options);
    }
    if (b > pass.lowest || wanted.input || (b > 0 && wanted.cotangents)) {
      pass.adjoint[b] = transformed_weight(b, true);
    }
  }
  if (direct_ && pass.lowest == 0) pass.plain_weight = transformed_weight(0, false);
  return pass;
}

ConvNetGradients ConvNetPlan::backward(const std::vector<SavedBlock>& saved, const Tensor& gy,
                                       const WantedGradients& wanted) const {
  Pass pass = start_pass(wanted, range_count(x_.size(0)));
  for_ranges(x_.size(0), [&](std::int64_t range, std::int64_t first, std::int64_t end) {
    for (std::int64_t n = first; n < end; n += group_) {
      backward_group(n, std::min(group_, end - n), saved, at_image(gy, n), pass, range);
    }
  });
  return finish_pass(pass, wanted);
}

ConvNetGradients ConvNetPlan::gradients(const std::vector<SavedBlock>& saved,
                                        const Tensor& features, const Cotangent& cotangent,
                                        const WantedGradients& wanted, std::int64_t parts) const {
  Pass pass = start_pass(wanted, parts);
  const Tensors weights = transformed_weights();
  for_parts(parts, x_.size(0), [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    std::vector<SavedBlock> own = saved;
    for (std::size_t b = direct_ ? 1 : 0; b < blocks_.size(); ++b) {
      if (!pass.weight[b].defined()) continue;
      const MapShape in = blocks_[b].in();
      own[b].input = at::empty({std::min(group_, end - first), in.height, in.width, in.channels},
                               x_.options());
    }
    for (std::int64_t n = first; n < end; n += group_) {
      const std::int64_t count = std::min(group_, end - n);
      for (SavedBlock& block : own) block.first_input = n;
      forward_group(n, count, weights, &own, at_image(features, n));
      const Tensor gy = cotangent(n, features.narrow(0, n, count));
      backward_group(n, count, own, gy.const_data_ptr<float>(), pass, part);
    }
  });
  return finish_pass(pass, wanted);
}

void ConvNetPlan::backward_group(std::int64_t first, std::int64_t count,
                                 const std::vector<SavedBlock>& saved, const float* gy, Pass& pass,
                                 std::int64_t part) const {
  const Block& last = blocks_.back();
  Slot slot = Slot::Even;
  // Where the cotangent of the output of block b is to be written.
  const auto cotangent_of = [&](std::size_t b) {
    slot = other(slot);
    return saved[b].gout.defined() ? at_image(saved[b].gout, first)
                                   : scratch(slot, count * blocks_[b].out.image_size());
  };
  float* gout = cotangent_of(blocks_.size() - 1);
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_last(gy + i * last.out_channels * last.out.pixels(), last.out_channels,
                            last.out.pixels(), last.out.channels, gout + i * last.out.image_size());
  }
  for (std::size_t b = blocks_.size(); b-- > pass.lowest;) {
    if (b == 0 && direct_) {
      backward_direct(first, count, saved[b], gout, pass, part);
      return;
    }
    float* gin = nullptr;
    if (pass.adjoint[b].defined()) {
      gin =
          b > 0 ? cotangent_of(b - 1) : scratch(other(slot), count * blocks_[0].in().image_size());
    }
    backward_block(b, first, count, saved[b], gout, pass, part, gin);
    gout = gin;
  }
  if (!pass.ginput.defined()) return;
  const MapShape in = blocks_[0].in();
  for (std::int64_t i = 0; i < count; ++i) {
    loops_.to_channels_first(gout + i * in.image_size(), in.channels, blocks_[0].in_channels,
                             in.pixels(), at_image(pass.ginput, first + i));
  }
}

void ConvNetPlan::backward_direct(std::int64_t first, std::int64_t count, const SavedBlock& saved,
                                  const float* gout, Pass& pass, std::int64_t part) const {
  const Block& block = blocks_[0];
  float* const map = scratch(Slot::Map, block.map.image_size());
  float* const sums = at_part(pass.norm[0], part);
  float* const gweight = at_part(pass.weight[0], part);
  for (std::int64_t i = 0; i < count; ++i) {
    // The widest map of the network is cheaper to compute again than to fetch from memory.
    const float* const patches = direct_->gather(at_image(x_, first + i));
    direct_->forward(patches, pass.plain_weight.const_data_ptr<float>(),
                     block.bias.const_data_ptr<float>(), map);
    norm_gradient(0, first + i, saved, map, gout + i * block.out.image_size(), map, sums);
    if (gweight) direct_->weight_gradient(patches, map, gweight);
    if (pass.ginput.defined()) {
      direct_->input_gradient(map, pass.adjoint[0].const_data_ptr<float>(),
                              at_image(pass.ginput, first + i));
    }
  }
}

void ConvNetPlan::backward_block(std::size_t b, std::int64_t first, std::int64_t count,
                                 const SavedBlock& saved, const float* gout, Pass& pass,
                                 std::int64_t part, float* gin) const {
  const Block& block = blocks_[b];
  const MapShape in = block.in();
  float* const gmap = scratch(Slot::Map, block.step * block.map.image_size());
  float* const memory =
      scratch(Slot::Convolve, std::max(loops_.convolve_scratch(in.channels, block.map.channels),
                                       loops_.convolve_scratch(block.map.channels, in.channels)));
  float* const gweight = at_part(pass.weight[b], part);
  for (std::int64_t i = 0; i < count; i += block.step) {
    const std::int64_t images = std::min(block.step, count - i);
    for (std::int64_t k = 0; k < images; ++k) {
      norm_gradient(b, first + i + k, saved, at_image(saved.map, first + i + k),
                    gout + (i + k) * block.out.image_size(), gmap + k * block.map.image_size(),
                    at_part(pass.norm[b], part));
    }
    if (gweight) {
      loops_.convolve_weight_gradient(saved.input_at(first + i),
                                      {images, in.height, in.width, in.channels}, gmap,
                                      block.map.channels, gweight, memory);
    }
    if (gin) {
      loops_.convolve(gmap, {images, in.height, in.width, block.map.channels},
                      pass.adjoint[b].const_data_ptr<float>(), nullptr, in.channels,
                      gin + i * in.image_size(), memory);
    }
  }
}

void ConvNetPlan::norm_gradient(std::size_t b, std::int64_t image, const SavedBlock& saved,
                                const float* map, const float* gout, float* gmap,
                                float* sums) const {
  const Block& block = blocks_[b];
  loops_.norm_relu_pool_gradient(map, block.map, block.norm_weight.const_data_ptr<float>(),
                                 block.norm_bias.const_data_ptr<float>(),
                                 at_image(saved.mean, image), at_image(saved.rstd, image), gout,
                                 gmap, sums + kNormWeightRow * block.map.channels,
                                 sums + kNormBiasRow * block.map.channels);
}

// A norm by a channel's own statistics takes its mean out, and the bias with it: nothing was added.
Tensor ConvNetPlan::bias_gradient(std::size_t b, const Tensor& sums) const {
  return sums[kConvolutionBiasRow].narrow(0, 0, blocks_[b].out_channels).clone();
}

Tensor ConvNetPlan::finished_weight(std::size_t b, const Tensor& sums) const {
  if (b == 0 && direct_) return direct_->unpack(sums);
  const Block& block = blocks_[b];
  const Tensor result = at::empty_like(weight(b));
  loops_.finish_weight_gradient(sums.const_data_ptr<float>(), block.out_channels, block.in_channels,
                                result.mutable_data_ptr<float>());
  return result;
}

ConvNetGradients ConvNetPlan::finish_pass(const Pass& pass, const WantedGradients& wanted) const {
  ConvNetGradients result;
  result.input = pass.ginput;
  result.parameters.resize(kParametersPerBlock * blocks_.size());
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    const std::size_t first = kParametersPerBlock * b;
    const auto keep = [&](std::size_t k, const Tensor& gradient) {
      if (wanted.parameters[first + k]) result.parameters[first + k] = gradient;
    };
    if (wanted.parameters[first]) keep(0, finished_weight(b, sum_of_parts(pass.weight[b])));
    if (!wanted.parameters[first + 1] && !wanted.parameters[first + 2] &&
        !wanted.parameters[first + 3]) {
      continue;
    }
    const Tensor total = sum_of_parts(pass.norm[b]);
    keep(1, bias_gradient(b, total));
    keep(2, total[kNormWeightRow].narrow(0, 0, block.out_channels).clone());
    keep(3, total[kNormBiasRow].narrow(0, 0, block.out_channels).clone());
  }
  return result;
}

}  // namespace retort::kernels
