// Networks of inverted residuals: a 1x1 convolution widens the map, a depthwise one looks at
// neighbours, a 1x1 convolution without activation narrows it again. MobileNetV2 (Sandler et al.,
// CVPR 2018) and EfficientNet-B0 (Tan and Le, ICML 2019) for small images: the released code of
// CV-DD and INFER.

#include <optional>
#include <utility>

#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/parts.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kStemChannels = 32;
constexpr std::int64_t kMobileNetHead = 1280;
/// The stages halve the map three times, EfficientNet's and a stem of stride 2 with them four
/// times.
constexpr std::int64_t kSmallestMobileNetSide = 8;
constexpr std::int64_t kSmallestHalfMobileNetSide = 16;
constexpr std::int64_t kSmallestEfficientNetSide = 16;
/// EfficientNet squeezes to this share of a block's input channels.
constexpr std::int64_t kSqueeze = 4;

struct Stage {
  std::int64_t expansion;
  std::int64_t channels;
  std::int64_t blocks;
  std::int64_t stride;  ///< of the first block
  std::int64_t kernel = 3;
};

const std::vector<Stage>& mobilenet_stages() {
  static const std::vector<Stage> stages = {{1, 16, 1, 1}, {6, 24, 2, 1}, {6, 32, 3, 2},
                                            {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2},
                                            {6, 320, 1, 1}};
  return stages;
}

const std::vector<Stage>& efficientnet_stages() {
  static const std::vector<Stage> stages = {{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3},  {6, 40, 2, 2, 5},
                                            {6, 80, 3, 2, 3}, {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5},
                                            {6, 320, 1, 1, 3}};
  return stages;
}

Tensor swish(const Tensor& x) { return activate(Activation::Swish, x); }

using AddBlock = Part (*)(Plan& plan, const std::string& name, const Stage& stage,
                          std::int64_t stride);

/// The blocks of all stages, counted through: "layers.0", "layers.1", ...
void add_stages(Plan& plan, const std::vector<Stage>& stages, AddBlock add_block,
                std::vector<Part>& parts) {
  std::int64_t position = 0;
  for (const Stage& stage : stages) {
    for (std::int64_t i = 0; i < stage.blocks; ++i) {
      parts.push_back(
          add_block(plan, str("layers.", position++), stage, i == 0 ? stage.stride : 1));
    }
  }
}

/// Which blocks of stride 1 add what they read: all, by a convolution where channels change, or
/// those alone that keep the map's shape.
enum class Shortcuts { All, SameShape };

Part add_inverted_block(Plan& plan, const std::string& name, const Stage& stage,
                        std::int64_t stride, Shortcuts shortcuts) {
  const ImageShape entry = plan.map;
  const std::int64_t wide = entry.channels * stage.expansion;
  const ConvNorm expand = add_conv_norm(plan, name + ".conv1", name + ".bn1", pointwise(wide));
  const ConvNorm spread =
      add_conv_norm(plan, name + ".conv2", name + ".bn2", depthwise(wide, stride));
  const ConvNorm project =
      add_conv_norm(plan, name + ".conv3", name + ".bn3", pointwise(stage.channels));
  const bool same = stride == 1 && entry.channels == stage.channels;
  std::optional<ConvNorm> shortcut;
  if (stride == 1 && !same && shortcuts == Shortcuts::All) {
    plan.map = entry;
    shortcut =
        add_conv_norm(plan, name + ".shortcut.0", name + ".shortcut.1", pointwise(stage.channels));
  }
  return [expand, spread, project, shortcut, same](const ForwardPass& pass, const Tensor& x) {
    Tensor map = at::relu(apply(expand, pass, x));
    map = apply(project, pass, at::relu(apply(spread, pass, map)));
    if (shortcut) return map + apply(*shortcut, pass, x);
    return same ? map + x : map;
  };
}

Part add_mobilenet_block(Plan& plan, const std::string& name, const Stage& stage,
                         std::int64_t stride) {
  return add_inverted_block(plan, name, stage, stride, Shortcuts::All);
}

Part add_half_mobilenet_block(Plan& plan, const std::string& name, const Stage& stage,
                              std::int64_t stride) {
  return add_inverted_block(plan, name, stage, stride, Shortcuts::SameShape);
}

/// Weights the channels of a map by what their means say together (Hu et al., CVPR 2018).
struct SqueezeExcitation {
  Convolution squeeze;
  Convolution excite;
};

SqueezeExcitation add_squeeze_excitation(Plan& plan, const std::string& name,
                                         std::int64_t channels) {
  const ImageShape entry = plan.map;
  plan.map = {.channels = entry.channels, .height = 1, .width = 1};
  SqueezeExcitation layer;
  layer.squeeze = add_convolution(plan, name + ".se1", pointwise(channels));
  layer.excite = add_convolution(plan, name + ".se2", pointwise(entry.channels));
  plan.map = entry;
  return layer;
}

Tensor apply(const SqueezeExcitation& layer, const ForwardPass& pass, const Tensor& x) {
  const Tensor squeezed = swish(apply(layer.squeeze, pass.state, x.mean({2, 3}, true)));
  return x * at::sigmoid(apply(layer.excite, pass.state, squeezed));
}

Part add_efficientnet_block(Plan& plan, const std::string& name, const Stage& stage,
                            std::int64_t stride) {
  const ImageShape entry = plan.map;
  const std::int64_t wide = entry.channels * stage.expansion;
  // The released code makes the first block's expansion as well and never uses it.
  std::optional<ConvNorm> expand;
  if (stage.expansion > 1) {
    expand = add_conv_norm(plan, name + ".conv1", name + ".bn1", pointwise(wide));
  }
  const ConvNorm spread =
      add_conv_norm(plan, name + ".conv2", name + ".bn2", depthwise(wide, stride, stage.kernel));
  const SqueezeExcitation weigh =
      add_squeeze_excitation(plan, name + ".se", entry.channels / kSqueeze);
  const ConvNorm project =
      add_conv_norm(plan, name + ".conv3", name + ".bn3", pointwise(stage.channels));
  const bool residual = stride == 1 && entry.channels == stage.channels;
  return [expand, spread, weigh, project, residual](const ForwardPass& pass, const Tensor& x) {
    Tensor map = expand ? swish(apply(*expand, pass, x)) : x;
    map = apply(weigh, pass, swish(apply(spread, pass, map)));
    map = apply(project, pass, map);
    return residual ? map + x : map;
  };
}

Part add_activated(Plan& plan, const std::string& number, const ConvolutionOptions& options,
                   Activation activation) {
  const ConvNorm layer = add_conv_norm(plan, "conv" + number, "bn" + number, options);
  return [layer, activation](const ForwardPass& pass, const Tensor& x) {
    return activate(activation, apply(layer, pass, x));
  };
}

}  // namespace

std::unique_ptr<Network> make_mobilenet_v2(ImageShape input, std::int64_t num_classes) {
  Plan plan("MobileNetV2", input);
  expect_sides(plan, kSmallestMobileNetSide);
  std::vector<Part> parts = {
      add_activated(plan, "1", {.channels = kStemChannels}, Activation::Relu)};
  add_stages(plan, mobilenet_stages(), add_mobilenet_block, parts);
  parts.push_back(add_activated(plan, "2", pointwise(kMobileNetHead), Activation::Relu));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "linear", num_classes);
}

std::unique_ptr<Network> make_mobilenet_v2_half(ImageShape input, std::int64_t num_classes) {
  Plan plan("MobileNetV2-0.5", input);
  expect_sides(plan, kSmallestHalfMobileNetSide);
  std::vector<Stage> stages = mobilenet_stages();
  for (Stage& stage : stages) stage.channels /= 2;
  std::vector<Part> parts = {
      add_activated(plan, "1", {.channels = kStemChannels / 2, .stride = 2}, Activation::Relu)};
  add_stages(plan, stages, add_half_mobilenet_block, parts);
  parts.push_back(add_activated(plan, "2", pointwise(kMobileNetHead), Activation::Relu));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "linear", num_classes);
}

std::unique_ptr<Network> make_efficientnet_b0(ImageShape input, std::int64_t num_classes) {
  Plan plan("EfficientNet-B0", input);
  expect_sides(plan, kSmallestEfficientNetSide);
  std::vector<Part> parts = {
      add_activated(plan, "1", {.channels = kStemChannels}, Activation::Swish)};
  add_stages(plan, efficientnet_stages(), add_efficientnet_block, parts);
  return make_pooled(std::move(plan), sequence(std::move(parts)), "linear", num_classes);
}

}  // namespace retort::nn
