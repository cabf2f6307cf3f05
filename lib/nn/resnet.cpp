#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/layers.h"

namespace retort::nn {
namespace {

/// Side of the average pooling before the classifier in the stride-2 form.
constexpr std::int64_t kFinalPooling = 4;

class ResNet18 : public Network {
 public:
  ResNet18(std::string name, Norm norm, Downsampling downsampling, ImageShape input,
           std::int64_t num_classes);

  ForwardResult forward(const NetworkState& state, const Tensor& x,
                        const ForwardOptions& options) const override;
  std::int64_t macs() const override { return macs_; }

 private:
  struct ConvNorm {
    Convolution convolution;
    Normalization normalization;
  };
  struct BasicBlock {
    ConvNorm first;
    ConvNorm second;
    std::optional<ConvNorm> shortcut;
    bool average = false;  ///< halve the map by average pooling
  };

  BasicBlock add_block(Plan& plan, const std::string& name, std::int64_t channels, bool halve);
  void add_shortcut(Plan& plan, const std::string& name, ImageShape entry, std::int64_t stride,
                    BasicBlock& block);
  void add_final_pooling(Plan& plan);
  Tensor apply_block(const BasicBlock& block, const ForwardPass& pass, const Tensor& x) const;

  Norm norm_;
  Downsampling downsampling_;
  ConvNorm stem_;
  std::vector<BasicBlock> blocks_;
  std::int64_t final_pooling_ = 1;
  Linear classifier_;
  std::int64_t macs_ = 0;
};

ResNet18::ResNet18(std::string name, Norm norm, Downsampling downsampling, ImageShape input,
                   std::int64_t num_classes)
    : Network(name, input, num_classes), norm_(norm), downsampling_(downsampling) {
  Plan plan(std::move(name), input);
  stem_.convolution = add_convolution(plan, "conv1", {.channels = 64, .bias = false});
  stem_.normalization = add_normalization(plan, "bn1", norm);
  const std::array<std::int64_t, 4> channels = {64, 128, 256, 512};
  for (std::size_t stage = 0; stage < channels.size(); ++stage) {
    for (int i = 0; i < 2; ++i) {
      blocks_.push_back(add_block(plan, str("layer", stage + 1, ".", i), channels[stage],
                                  /*halve=*/stage > 0 && i == 0));
    }
  }
  if (downsampling == Downsampling::Stride) add_final_pooling(plan);
  classifier_ = add_linear(plan, "classifier", plan.map.numel(), num_classes);
  macs_ = plan.macs;
  parameters_ = std::move(plan.parameters);
  buffers_ = std::move(plan.buffers);
}

ResNet18::BasicBlock ResNet18::add_block(Plan& plan, const std::string& name, std::int64_t channels,
                                         bool halve) {
  const ImageShape entry = plan.map;
  BasicBlock block;
  block.average = halve && downsampling_ == Downsampling::AveragePooling;
  const std::int64_t stride = halve && !block.average ? 2 : 1;
  block.first.convolution = add_convolution(
      plan, name + ".conv1", {.channels = channels, .stride = stride, .bias = false});
  block.first.normalization = add_normalization(plan, name + ".bn1", norm_);
  if (block.average) add_pooling(plan, name + ".conv1 (average pooling)", 2);
  block.second.convolution =
      add_convolution(plan, name + ".conv2", {.channels = channels, .bias = false});
  block.second.normalization = add_normalization(plan, name + ".bn2", norm_);
  if (halve) add_shortcut(plan, name, entry, stride, block);
  return block;
}

void ResNet18::add_shortcut(Plan& plan, const std::string& name, ImageShape entry,
                            std::int64_t stride, BasicBlock& block) {
  const std::int64_t channels = plan.map.channels;
  plan.map = entry;
  ConvNorm shortcut;
  shortcut.convolution = add_convolution(
      plan, name + ".shortcut.0",
      {.channels = channels, .kernel = 1, .stride = stride, .padding = 0, .bias = false});
  if (block.average) add_pooling(plan, name + ".shortcut.1", 2);
  shortcut.normalization =
      add_normalization(plan, name + (block.average ? ".shortcut.2" : ".shortcut.1"), norm_);
  block.shortcut = shortcut;
}

void ResNet18::add_final_pooling(Plan& plan) {
  // The reference serves 28x28 and 32x32 only, where the map is 4x4. Smaller maps are averaged
  // whole, larger ones give several positions to the classifier.
  final_pooling_ = std::min({kFinalPooling, plan.map.height, plan.map.width});
  add_pooling(plan, "the final pooling", final_pooling_);
}

Tensor ResNet18::apply_block(const BasicBlock& block, const ForwardPass& pass,
                             const Tensor& x) const {
  Tensor map = apply(block.first.convolution, pass.state, x);
  map = at::relu(apply(block.first.normalization, pass, map));
  if (block.average) map = pool(Pooling::Average, map);
  map = apply(block.second.convolution, pass.state, map);
  map = apply(block.second.normalization, pass, map);
  if (!block.shortcut) return at::relu(map + x);
  Tensor shortcut = apply(block.shortcut->convolution, pass.state, x);
  if (block.average) shortcut = pool(Pooling::Average, shortcut);
  return at::relu(map + apply(block.shortcut->normalization, pass, shortcut));
}

ForwardResult ResNet18::forward(const NetworkState& state, const Tensor& x,
                                const ForwardOptions& options) const {
  expect_matching(state, x);
  ForwardResult result;
  const ForwardPass pass{state, options, result};
  Tensor map = apply(stem_.convolution, state, x);
  map = at::relu(apply(stem_.normalization, pass, map));
  for (const BasicBlock& block : blocks_) map = apply_block(block, pass, map);
  if (final_pooling_ > 1) map = at::avg_pool2d(map, final_pooling_);
  result.embedding = map.flatten(1);
  if (options.logits) result.logits = apply(classifier_, state, result.embedding);
  return result;
}

}  // namespace

std::unique_ptr<Network> make_resnet18(Norm norm, Downsampling downsampling, ImageShape input,
                                       std::int64_t num_classes) {
  const std::string name = str("ResNet-18", norm == Norm::Batch ? "-BN" : "",
                               downsampling == Downsampling::AveragePooling ? "-AP" : "");
  return std::make_unique<ResNet18>(name, norm, downsampling, input, num_classes);
}

}  // namespace retort::nn
