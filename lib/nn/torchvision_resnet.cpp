// ResNets as torchvision builds them (He et al., CVPR 2016), their parameters named and ordered as
// there, so that its weights can be brought in by name.

#include <array>
#include <optional>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/parts.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kWidth = 64;
constexpr std::int64_t kMaxWidth = 1024;
constexpr std::int64_t kBottleneckExpansion = 4;
/// The stages halve the map three times; torchvision's stem does so twice before, GUARD's once.
constexpr std::int64_t kSmallestSide = 8;
constexpr std::int64_t kSmallestLargeSide = 64;

enum class Stem {
  Small,  ///< 3x3
  Large,  ///< torchvision's: 7x7 of stride 2, then max pooling
  Guard   ///< 3x3 of stride 2 and padding 3, for images of Tiny-ImageNet enlarged to 224 (GUARD)
};

struct ResNetConfig {
  std::array<std::int64_t, 4> blocks;  ///< per stage
  bool bottleneck = false;
  std::int64_t width = kWidth;  ///< channels of the stem and the first stage
  Stem stem = Stem::Small;
};

ConvNorm add_layer(Plan& plan, const std::string& convolution, const std::string& norm,
                   ConvolutionOptions options) {
  options.init = Init::NormalFanOut;
  return add_conv_norm(plan, convolution, norm, options);
}

/// A block's convolutions, in order. In the bottleneck the 3x3 one has the stride.
std::vector<ConvolutionOptions> block_layers(bool bottleneck, std::int64_t channels,
                                             std::int64_t stride) {
  if (!bottleneck) return {{.channels = channels, .stride = stride}, {.channels = channels}};
  return {pointwise(channels),
          {.channels = channels, .stride = stride},
          pointwise(channels * kBottleneckExpansion)};
}

/// A 1x1 convolution where the map's shape changes.
std::optional<ConvNorm> add_shortcut(Plan& plan, const std::string& name, ImageShape entry,
                                     std::int64_t stride) {
  const ImageShape output = plan.map;
  if (stride == 1 && entry.channels == output.channels) return std::nullopt;
  plan.map = entry;
  ConvolutionOptions options = pointwise(output.channels);
  options.stride = stride;
  return add_layer(plan, name + ".downsample.0", name + ".downsample.1", options);
}

Part add_block(Plan& plan, const std::string& name, bool bottleneck, std::int64_t channels,
               std::int64_t stride) {
  const ImageShape entry = plan.map;
  std::vector<ConvNorm> layers;
  for (const ConvolutionOptions& options : block_layers(bottleneck, channels, stride)) {
    const std::size_t number = layers.size() + 1;
    layers.push_back(
        add_layer(plan, str(name, ".conv", number), str(name, ".bn", number), options));
  }
  const auto shortcut = add_shortcut(plan, name, entry, stride);
  return [layers, shortcut](const ForwardPass& pass, const Tensor& x) {
    Tensor map = apply(layers[0], pass, x);
    for (std::size_t i = 1; i < layers.size(); ++i) map = apply(layers[i], pass, at::relu(map));
    return at::relu(map + (shortcut ? apply(*shortcut, pass, x) : x));
  };
}

Part add_stem(Plan& plan, const ResNetConfig& config) {
  ConvolutionOptions options{.channels = config.width};
  if (config.stem == Stem::Large) options.kernel = 7;
  if (config.stem != Stem::Small) {
    options.stride = 2;
    options.padding = 3;
  }
  const ConvNorm layer = add_layer(plan, "conv1", "bn1", options);
  if (config.stem != Stem::Large) {
    return [layer](const ForwardPass& pass, const Tensor& x) {
      return at::relu(apply(layer, pass, x));
    };
  }
  // 3x3 max pooling of stride 2 and padding 1.
  plan.map.height = (plan.map.height + 1) / 2;
  plan.map.width = (plan.map.width + 1) / 2;
  return [layer](const ForwardPass& pass, const Tensor& x) {
    return at::max_pool2d(at::relu(apply(layer, pass, x)), 3, 2, 1);
  };
}

std::unique_ptr<Network> make_resnet(const std::string& name, const ResNetConfig& config,
                                     ImageShape input, std::int64_t num_classes) {
  Plan plan(name, input);
  expect_sides(plan, config.stem == Stem::Small ? kSmallestSide : kSmallestLargeSide);
  std::vector<Part> parts = {add_stem(plan, config)};
  std::int64_t channels = config.width;
  for (std::size_t stage = 0; stage < config.blocks.size(); ++stage, channels *= 2) {
    for (std::int64_t i = 0; i < config.blocks[stage]; ++i) {
      parts.push_back(add_block(plan, str("layer", stage + 1, ".", i), config.bottleneck, channels,
                                stage > 0 && i == 0 ? 2 : 1));
    }
  }
  return make_pooled(std::move(plan), sequence(std::move(parts)), "fc", num_classes);
}

}  // namespace

std::unique_ptr<Network> make_r18m(std::int64_t width, ImageShape input, std::int64_t num_classes) {
  if (width < 1 || width > kMaxWidth) {
    throw ConfigError(str("R18m: width must be in 1 .. ", kMaxWidth, ", found ", width));
  }
  const std::string name = width == kWidth ? std::string("R18m") : str("R18m-w", width);
  return make_resnet(name, {.blocks = {2, 2, 2, 2}, .width = width}, input, num_classes);
}

std::unique_ptr<Network> make_r50m(ImageShape input, std::int64_t num_classes) {
  return make_resnet("R50m", {.blocks = {3, 4, 6, 3}, .bottleneck = true}, input, num_classes);
}

std::unique_ptr<Network> make_r101m(ImageShape input, std::int64_t num_classes) {
  return make_resnet("R101m", {.blocks = {3, 4, 23, 3}, .bottleneck = true}, input, num_classes);
}

std::unique_ptr<Network> make_resnet18_224(ImageShape input, std::int64_t num_classes) {
  return make_resnet("ResNet-18-224", {.blocks = {2, 2, 2, 2}, .stem = Stem::Large}, input,
                     num_classes);
}

std::unique_ptr<Network> make_resnet50_224(ImageShape input, std::int64_t num_classes) {
  return make_resnet("ResNet-50-224",
                     {.blocks = {3, 4, 6, 3}, .bottleneck = true, .stem = Stem::Large}, input,
                     num_classes);
}

std::unique_ptr<Network> make_resnet101_224(ImageShape input, std::int64_t num_classes) {
  return make_resnet("ResNet-101-224",
                     {.blocks = {3, 4, 23, 3}, .bottleneck = true, .stem = Stem::Large}, input,
                     num_classes);
}

std::unique_ptr<Network> make_resnet18_guard(ImageShape input, std::int64_t num_classes) {
  return make_resnet("ResNet-18-GUARD", {.blocks = {2, 2, 2, 2}, .stem = Stem::Guard}, input,
                     num_classes);
}

}  // namespace retort::nn
