// ShuffleNet of two groups (Zhang et al., CVPR 2018) and ShuffleNetV2 of half width (Ma et al.,
// ECCV 2018) for small images, without max pooling: the released code of INFER and CV-DD.

#include <array>
#include <utility>

#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/parts.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kStemChannels = 24;
constexpr std::int64_t kGroups = 2;
constexpr std::int64_t kBottleneck = 4;  ///< of ShuffleNet: inner channels are a quarter
constexpr std::int64_t kHeadV2 = 1024;
/// Every stage halves the map.
constexpr std::int64_t kSmallestSide = 8;

struct Stage {
  std::int64_t channels;
  std::int64_t blocks;
};
constexpr std::array<Stage, 3> kStages = {{{200, 4}, {400, 8}, {800, 4}}};
constexpr std::array<Stage, 3> kStagesV2 = {{{48, 4}, {96, 8}, {192, 4}}};

/// Layer i of a block or network: convolution "conv<i>" and BatchNorm "bn<i>".
ConvNorm add_numbered(Plan& plan, const std::string& prefix, std::int64_t number,
                      const ConvolutionOptions& options) {
  return add_conv_norm(plan, str(prefix, "conv", number), str(prefix, "bn", number), options);
}

/// Convolution, BatchNorm, ReLU.
Part add_activated(Plan& plan, std::int64_t number, const ConvolutionOptions& options) {
  const ConvNorm layer = add_numbered(plan, "", number, options);
  return
      [layer](const ForwardPass& pass, const Tensor& x) { return at::relu(apply(layer, pass, x)); };
}

/// @param channels of the output. With stride 2 the block's own come before those of the input,
///        halved by average pooling.
Part add_bottleneck(Plan& plan, const std::string& prefix, std::int64_t channels,
                    std::int64_t stride) {
  const std::int64_t entry = plan.map.channels;
  const std::int64_t own = stride == 1 ? channels : channels - entry;
  const std::int64_t inner = own / kBottleneck;
  // The stem's map is too narrow to be cut.
  const std::int64_t groups = entry == kStemChannels ? 1 : kGroups;
  const ConvNorm narrow = add_numbered(plan, prefix, 1, pointwise(inner, groups));
  const ConvNorm spread = add_numbered(plan, prefix, 2, depthwise(inner, stride));
  const ConvNorm widen = add_numbered(plan, prefix, 3, pointwise(own, kGroups));
  plan.map.channels = channels;
  return [narrow, spread, widen, groups, stride](const ForwardPass& pass, const Tensor& x) {
    Tensor map = shuffle_channels(at::relu(apply(narrow, pass, x)), groups);
    map = apply(widen, pass, at::relu(apply(spread, pass, map)));
    if (stride == 1) return at::relu(map + x);
    return at::relu(at::cat({map, at::avg_pool2d(x, 3, 2, 1)}, 1));
  };
}

/// ShuffleNetV2: both halves of the output come from the whole input.
Part add_down_block(Plan& plan, const std::string& prefix, std::int64_t channels) {
  const ImageShape entry = plan.map;
  const std::int64_t half = channels / 2;
  const ConvNorm left_spread = add_numbered(plan, prefix, 1, depthwise(entry.channels, 2));
  const ConvNorm left_mix = add_numbered(plan, prefix, 2, pointwise(half));
  plan.map = entry;
  const ConvNorm narrow = add_numbered(plan, prefix, 3, pointwise(half));
  const ConvNorm spread = add_numbered(plan, prefix, 4, depthwise(half, 2));
  const ConvNorm mix = add_numbered(plan, prefix, 5, pointwise(half));
  plan.map.channels = channels;
  return [=](const ForwardPass& pass, const Tensor& x) {
    const Tensor left = at::relu(apply(left_mix, pass, apply(left_spread, pass, x)));
    Tensor right = apply(spread, pass, at::relu(apply(narrow, pass, x)));
    right = at::relu(apply(mix, pass, right));
    return shuffle_channels(at::cat({left, right}, 1), kGroups);
  };
}

/// ShuffleNetV2: one half of the channels passes by.
Part add_split_block(Plan& plan, const std::string& prefix) {
  const std::int64_t channels = plan.map.channels;
  const std::int64_t half = channels / 2;
  plan.map.channels = half;
  const ConvNorm first = add_numbered(plan, prefix, 1, pointwise(half));
  const ConvNorm spread = add_numbered(plan, prefix, 2, depthwise(half, 1));
  const ConvNorm last = add_numbered(plan, prefix, 3, pointwise(half));
  plan.map.channels = channels;
  return [first, spread, last, half](const ForwardPass& pass, const Tensor& x) {
    const Tensor passed = x.narrow(1, 0, half);
    Tensor map = at::relu(apply(first, pass, x.narrow(1, half, half)));
    map = at::relu(apply(last, pass, apply(spread, pass, map)));
    return shuffle_channels(at::cat({passed, map}, 1), kGroups);
  };
}

/// Prefix of a block's layers: "layer1.0.".
std::string block_prefix(std::size_t stage, std::int64_t block) {
  return str("layer", stage + 1, ".", block, ".");
}

std::unique_ptr<Network> make_version_two(const std::string& name, const ConvolutionOptions& stem,
                                          ImageShape input, std::int64_t num_classes) {
  Plan plan(name, input);
  expect_sides(plan, kSmallestSide);
  std::vector<Part> parts = {add_activated(plan, 1, stem)};
  for (std::size_t stage = 0; stage < kStagesV2.size(); ++stage) {
    parts.push_back(add_down_block(plan, block_prefix(stage, 0), kStagesV2[stage].channels));
    for (std::int64_t i = 1; i < kStagesV2[stage].blocks; ++i) {
      parts.push_back(add_split_block(plan, block_prefix(stage, i)));
    }
  }
  parts.push_back(add_activated(plan, 2, pointwise(kHeadV2)));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "linear", num_classes);
}

}  // namespace

std::unique_ptr<Network> make_shufflenet_g2(ImageShape input, std::int64_t num_classes) {
  Plan plan("ShuffleNet-G2", input);
  expect_sides(plan, kSmallestSide);
  std::vector<Part> parts = {add_activated(plan, 1, pointwise(kStemChannels))};
  for (std::size_t stage = 0; stage < kStages.size(); ++stage) {
    for (std::int64_t i = 0; i < kStages[stage].blocks; ++i) {
      parts.push_back(
          add_bottleneck(plan, block_prefix(stage, i), kStages[stage].channels, i == 0 ? 2 : 1));
    }
  }
  return make_pooled(std::move(plan), sequence(std::move(parts)), "linear", num_classes);
}

std::unique_ptr<Network> make_shufflenet_v2(ImageShape input, std::int64_t num_classes) {
  return make_version_two("ShuffleNetV2-0.5", {.channels = kStemChannels}, input, num_classes);
}

std::unique_ptr<Network> make_shufflenet_v2_1x1(ImageShape input, std::int64_t num_classes) {
  return make_version_two("ShuffleNetV2-0.5-1x1", pointwise(kStemChannels), input, num_classes);
}

}  // namespace retort::nn
