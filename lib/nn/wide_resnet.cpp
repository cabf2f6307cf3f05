// The wide ResNet of 16 layers (Zagoruyko and Komodakis, BMVC 2016) that decoupled methods have
// among their teachers; names of parameters as in the code of contrastive representation
// distillation, from which those took it, and convolutions that start as there; the classifier's
// bias starts as PyTorch's does, there at 0.

#include <array>
#include <optional>
#include <utility>

#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/parts.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kStemChannels = 16;
constexpr std::array<std::int64_t, 3> kChannels = {32, 64, 128};
constexpr int kBlocks = 2;  ///< per group
/// Two groups halve the map.
constexpr std::int64_t kSmallestSide = 4;

/// Norm and ReLU come before each convolution; the shortcut of a wider map reads what the first
/// convolution reads.
Part add_block(Plan& plan, const std::string& name, std::int64_t channels, std::int64_t stride) {
  const ImageShape entry = plan.map;
  const Normalization first_norm = add_normalization(plan, name + ".bn1", Norm::Batch);
  const Convolution first = add_convolution(
      plan, name + ".conv1",
      {.channels = channels, .stride = stride, .bias = false, .init = Init::NormalFanOut});
  const NormConv second = add_norm_conv(plan, name + ".bn2", name + ".conv2",
                                        {.channels = channels, .init = Init::NormalFanOut});
  std::optional<Convolution> shortcut;
  if (entry.channels != channels) {
    plan.map = entry;
    ConvolutionOptions options = pointwise(channels);
    options.stride = stride;
    options.bias = false;
    options.init = Init::NormalFanOut;
    shortcut = add_convolution(plan, name + ".convShortcut", options);
  }
  return [=](const ForwardPass& pass, const Tensor& x) {
    const Tensor active = at::relu(apply(first_norm, pass, x));
    const Tensor map = apply(second, pass, apply(first, pass.state, active));
    return map + (shortcut ? apply(*shortcut, pass.state, active) : x);
  };
}

}  // namespace

std::unique_ptr<Network> make_wide_resnet(ImageShape input, std::int64_t num_classes) {
  Plan plan("WRN-16-2", input);
  expect_sides(plan, kSmallestSide);
  std::vector<Part> parts = {
      add_bare_convolution(plan, "conv1", {.channels = kStemChannels, .init = Init::NormalFanOut})};
  for (std::size_t group = 0; group < kChannels.size(); ++group) {
    for (int i = 0; i < kBlocks; ++i) {
      parts.push_back(add_block(plan, str("block", group + 1, ".layer.", i), kChannels[group],
                                group > 0 && i == 0 ? 2 : 1));
    }
  }
  parts.push_back(add_norm_relu(plan, "bn1"));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "fc", num_classes);
}

}  // namespace retort::nn
