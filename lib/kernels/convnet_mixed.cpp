#include "lib/kernels/convnet_mixed.h"

#include <algorithm>

#include "lib/kernels/common.h"
#include "lib/kernels/loops/loops.h"

namespace retort::kernels {
namespace {

constexpr std::int64_t kGroupImages = 16;  // whose maps stay in cache

struct Block {
  Tensor weight, bias;            // bf16
  Tensor norm_weight, norm_bias;  // float32
  std::int64_t padding = 1;
};

std::vector<Block> prepare(std::span<const Tensor> parameters, const ConvNetShape& shape) {
  std::vector<Block> blocks;
  for (std::int64_t b = 0; b < shape.depth; ++b) {
    const auto p = parameters.subspan(kParametersPerBlock * std::size_t(b), kParametersPerBlock);
    blocks.push_back({p[0].to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast),
                      p[1].to(at::kBFloat16), p[2].contiguous(), p[3].contiguous(),
                      b == 0 ? shape.first_padding : 1});
  }
  return blocks;
}

/// @param map [N,C,H,W] float32 in channels-last memory  @return the same, pooled
Tensor norm_relu_pool(const Tensor& map, const Block& block, double eps) {
  const MapShape shape{1, map.size(2), map.size(3), map.size(1)};
  const Tensor out = at::empty({map.size(0), shape.channels, shape.height / 2, shape.width / 2},
                               map.options().memory_format(at::MemoryFormat::ChannelsLast));
  float* const statistics = scratch(Slot::Statistics, 2 * shape.channels);
  for (std::int64_t i = 0; i < map.size(0); ++i) {
    best_loops()->norm_relu_pool(at_image(map, i), shape, block.norm_weight.const_data_ptr<float>(),
                                 block.norm_bias.const_data_ptr<float>(), float(eps),
                                 at_image(out, i), statistics, statistics + shape.channels);
  }
  return out;
}

}  // namespace

bool serves_convnet_mixed(std::span<const Tensor> parameters, const ConvNetShape& shape) {
  if (shape.norm_groups != 0) return false;
  for (std::int64_t b = 0; b < shape.depth; ++b) {
    if (parameters[kParametersPerBlock * std::size_t(b)].size(0) % kChannelStep != 0) return false;
  }
  return true;
}

Tensor convnet_features_mixed(const Tensor& x, std::span<const Tensor> parameters,
                              const ConvNetShape& shape) {
  const at::NoGradGuard no_grad;
  const std::vector<Block> blocks = prepare(parameters, shape);
  Tensors features(std::size_t((x.size(0) + kGroupImages - 1) / kGroupImages));
  for_ranges(
      std::int64_t(features.size()), [&](std::int64_t, std::int64_t first, std::int64_t end) {
        for (std::int64_t group = first; group < end; ++group) {
          const std::int64_t start = group * kGroupImages;
          Tensor map = x.slice(0, start, std::min(start + kGroupImages, x.size(0)));
          for (const Block& block : blocks) {
            map = at::conv2d(map.to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast),
                             block.weight, block.bias, 1, block.padding);
            map = map.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
            map = norm_relu_pool(map, block, shape.eps);
          }
          features[std::size_t(group)] = map.contiguous().flatten(1);
        }
      });
  return at::cat(features);
}

}  // namespace retort::kernels
