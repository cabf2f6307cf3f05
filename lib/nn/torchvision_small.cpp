// MobileNetV2 (Sandler et al., CVPR 2018), ShuffleNetV2 (Ma et al., ECCV 2018) and DenseNet-121
// (Huang et al., CVPR 2017) as torchvision builds them for large images, their parameters named and
// ordered as there, so that its weights can be brought in by name. They start as PyTorch's layers
// do, MobileNetV2's convolutions as torchvision's; its DenseNet starts otherwise.

#include <array>
#include <optional>
#include <utility>

#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/parts.h"

namespace retort::nn {
namespace {

/// All halve the map five times.
constexpr std::int64_t kSmallestSide = 64;

/// 3x3 max pooling of stride 2 and padding 1.
Tensor halve(const Tensor& x) { return at::max_pool2d(x, 3, 2, 1); }

void halve(Plan& plan) {
  plan.map.height = (plan.map.height + 1) / 2;
  plan.map.width = (plan.map.width + 1) / 2;
}

/// "features.0" and a number: convolution "<name>.<i>", BatchNorm "<name>.<i + 1>".
ConvNorm add_pair(Plan& plan, const std::string& name, int number,
                  const ConvolutionOptions& options) {
  return add_conv_norm(plan, str(name, ".", number), str(name, ".", number + 1), options);
}

// MobileNetV2

struct InvertedStage {
  std::int64_t expansion;
  std::int64_t channels;
  std::int64_t blocks;
  std::int64_t stride;  ///< of the first block
};
constexpr std::array<InvertedStage, 7> kInvertedStages = {{{1, 16, 1, 1},
                                                           {6, 24, 2, 2},
                                                           {6, 32, 3, 2},
                                                           {6, 64, 4, 2},
                                                           {6, 96, 3, 1},
                                                           {6, 160, 3, 2},
                                                           {6, 320, 1, 1}}};
constexpr std::int64_t kMobileNetStem = 32;
constexpr std::int64_t kMobileNetHead = 1280;

ConvolutionOptions fan_out(ConvolutionOptions options) {
  options.init = Init::NormalFanOut;
  return options;
}

Part add_clipped(Plan& plan, const std::string& name, const ConvolutionOptions& options) {
  const ConvNorm layer = add_pair(plan, name, 0, fan_out(options));
  return [layer](const ForwardPass& pass, const Tensor& x) {
    return at::clamp(apply(layer, pass, x), 0, 6);
  };
}

Part add_inverted_block(Plan& plan, const std::string& name, const InvertedStage& stage,
                        std::int64_t stride) {
  const std::int64_t entry = plan.map.channels;
  const std::int64_t wide = entry * stage.expansion;
  std::vector<Part> parts;
  int number = 0;
  if (stage.expansion > 1) {
    parts.push_back(add_clipped(plan, str(name, ".conv.", number++), pointwise(wide)));
  }
  parts.push_back(add_clipped(plan, str(name, ".conv.", number++), depthwise(wide, stride)));
  const ConvNorm project =
      add_pair(plan, name + ".conv", number, fan_out(pointwise(stage.channels)));
  const bool residual = stride == 1 && entry == stage.channels;
  return [widen = sequence(std::move(parts)), project, residual](const ForwardPass& pass,
                                                                 const Tensor& x) {
    const Tensor map = apply(project, pass, widen(pass, x));
    return residual ? map + x : map;
  };
}

// ShuffleNetV2

struct ShuffleStage {
  std::int64_t channels;
  std::int64_t blocks;
};
using ShuffleStages = std::array<ShuffleStage, 3>;
constexpr ShuffleStages kHalfWidth = {{{48, 4}, {96, 8}, {192, 4}}};
constexpr ShuffleStages kFullWidth = {{{116, 4}, {232, 8}, {464, 4}}};
constexpr std::int64_t kShuffleStem = 24;
constexpr std::int64_t kShuffleHead = 1024;
constexpr std::int64_t kShuffleGroups = 2;

Part add_rectified(Plan& plan, const std::string& name, const ConvolutionOptions& options) {
  const ConvNorm layer = add_pair(plan, name, 0, options);
  return
      [layer](const ForwardPass& pass, const Tensor& x) { return at::relu(apply(layer, pass, x)); };
}

/// 1x1, depthwise, 1x1; the depthwise one has no activation.
Part add_shuffle_branch(Plan& plan, const std::string& name, std::int64_t channels,
                        std::int64_t stride) {
  const ConvNorm narrow = add_pair(plan, name, 0, pointwise(channels));
  const ConvNorm spread = add_pair(plan, name, 3, depthwise(channels, stride));
  const ConvNorm mix = add_pair(plan, name, 5, pointwise(channels));
  return [narrow, spread, mix](const ForwardPass& pass, const Tensor& x) {
    const Tensor map = at::relu(apply(narrow, pass, x));
    return at::relu(apply(mix, pass, apply(spread, pass, map)));
  };
}

Part add_shuffle_block(Plan& plan, const std::string& name, std::int64_t channels, bool down) {
  const ImageShape entry = plan.map;
  const std::int64_t half = channels / 2;
  std::optional<Part> left;
  if (down) {
    const ConvNorm spread = add_pair(plan, name + ".branch1", 0, depthwise(entry.channels, 2));
    const ConvNorm mix = add_pair(plan, name + ".branch1", 2, pointwise(half));
    left = [spread, mix](const ForwardPass& pass, const Tensor& x) {
      return at::relu(apply(mix, pass, apply(spread, pass, x)));
    };
  }
  plan.map = entry;
  if (!down) plan.map.channels = half;
  const Part right = add_shuffle_branch(plan, name + ".branch2", half, down ? 2 : 1);
  plan.map.channels = channels;
  return [left, right, half](const ForwardPass& pass, const Tensor& x) {
    const Tensor passed = left ? (*left)(pass, x) : x.narrow(1, 0, half);
    const Tensor seen = right(pass, left ? x : x.narrow(1, half, half));
    return shuffle_channels(at::cat({passed, seen}, 1), kShuffleGroups);
  };
}

std::unique_ptr<Network> make_shufflenet(const std::string& name, const ShuffleStages& stages,
                                         ImageShape input, std::int64_t num_classes) {
  Plan plan(name, input);
  expect_sides(plan, kSmallestSide);
  std::vector<Part> parts = {add_rectified(plan, "conv1", {.channels = kShuffleStem, .stride = 2})};
  halve(plan);
  parts.emplace_back([](const ForwardPass&, const Tensor& x) { return halve(x); });
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    for (std::int64_t i = 0; i < stages[stage].blocks; ++i) {
      parts.push_back(
          add_shuffle_block(plan, str("stage", stage + 2, ".", i), stages[stage].channels, i == 0));
    }
  }
  parts.push_back(add_rectified(plan, "conv5", pointwise(kShuffleHead)));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "fc", num_classes);
}

// DenseNet-121

constexpr std::int64_t kGrowth = 32;
constexpr std::int64_t kInnerGrowths = 4;  ///< channels inside a layer
constexpr std::array<std::int64_t, 4> kDenseLayers = {6, 12, 24, 16};

/// Its own channels come behind those of its input.
Part add_dense_layer(Plan& plan, const std::string& name) {
  const std::int64_t entry = plan.map.channels;
  const NormConv narrow =
      add_norm_conv(plan, name + ".norm1", name + ".conv1", pointwise(kInnerGrowths * kGrowth));
  const NormConv grow =
      add_norm_conv(plan, name + ".norm2", name + ".conv2", {.channels = kGrowth});
  plan.map.channels = entry + kGrowth;
  return [narrow, grow](const ForwardPass& pass, const Tensor& x) {
    return at::cat({x, apply(grow, pass, apply(narrow, pass, x))}, 1);
  };
}

Part add_transition(Plan& plan, const std::string& name) {
  const NormConv layer =
      add_norm_conv(plan, name + ".norm", name + ".conv", pointwise(plan.map.channels / 2));
  add_pooling(plan, name + ".pool", 2);
  return [layer](const ForwardPass& pass, const Tensor& x) {
    return pool(Pooling::Average, apply(layer, pass, x));
  };
}

Part add_dense_stem(Plan& plan) {
  const ConvNorm layer =
      add_conv_norm(plan, "features.conv0", "features.norm0",
                    {.channels = 2 * kGrowth, .kernel = 7, .stride = 2, .padding = 3});
  halve(plan);
  return [layer](const ForwardPass& pass, const Tensor& x) {
    return halve(at::relu(apply(layer, pass, x)));
  };
}

}  // namespace

std::unique_ptr<Network> make_mobilenet_v2_224(ImageShape input, std::int64_t num_classes) {
  Plan plan("MobileNetV2-224", input);
  expect_sides(plan, kSmallestSide);
  std::vector<Part> parts = {
      add_clipped(plan, "features.0", {.channels = kMobileNetStem, .stride = 2})};
  for (const InvertedStage& stage : kInvertedStages) {
    for (std::int64_t i = 0; i < stage.blocks; ++i) {
      parts.push_back(add_inverted_block(plan, str("features.", parts.size()), stage,
                                         i == 0 ? stage.stride : 1));
    }
  }
  parts.push_back(add_clipped(plan, str("features.", parts.size()), pointwise(kMobileNetHead)));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "classifier.1", num_classes);
}

std::unique_ptr<Network> make_shufflenet_v2_224(ImageShape input, std::int64_t num_classes) {
  return make_shufflenet("ShuffleNetV2-0.5-224", kHalfWidth, input, num_classes);
}

std::unique_ptr<Network> make_shufflenet_v2_whole_224(ImageShape input, std::int64_t num_classes) {
  return make_shufflenet("ShuffleNetV2-1.0-224", kFullWidth, input, num_classes);
}

std::unique_ptr<Network> make_densenet121_224(ImageShape input, std::int64_t num_classes) {
  Plan plan("DenseNet-121-224", input);
  expect_sides(plan, kSmallestSide);
  std::vector<Part> parts = {add_dense_stem(plan)};
  for (std::size_t block = 0; block < kDenseLayers.size(); ++block) {
    if (block > 0) parts.push_back(add_transition(plan, str("features.transition", block)));
    for (std::int64_t i = 0; i < kDenseLayers[block]; ++i) {
      parts.push_back(
          add_dense_layer(plan, str("features.denseblock", block + 1, ".denselayer", i + 1)));
    }
  }
  parts.push_back(add_norm_relu(plan, "features.norm5"));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "classifier", num_classes);
}

}  // namespace retort::nn
