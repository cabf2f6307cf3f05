// DenseNet-121 (Huang et al., CVPR 2017) for small images: the released code of CV-DD.

#include <array>
#include <utility>

#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/parts.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kGrowth = 32;     ///< channels that a layer adds
constexpr std::int64_t kBottleneck = 4;  ///< inner channels of a layer, in growths
constexpr std::array<std::int64_t, 4> kLayers = {6, 12, 24, 16};

/// Its own channels come before those of its input.
Part add_dense_layer(Plan& plan, const std::string& name) {
  const std::int64_t entry = plan.map.channels;
  const NormConv narrow =
      add_norm_conv(plan, name + ".bn1", name + ".conv1", pointwise(kBottleneck * kGrowth));
  const NormConv grow = add_norm_conv(plan, name + ".bn2", name + ".conv2", {.channels = kGrowth});
  plan.map.channels = entry + kGrowth;
  return [narrow, grow](const ForwardPass& pass, const Tensor& x) {
    return at::cat({apply(grow, pass, apply(narrow, pass, x)), x}, 1);
  };
}

/// Halves channels and map.
Part add_transition(Plan& plan, const std::string& name) {
  const NormConv layer =
      add_norm_conv(plan, name + ".bn", name + ".conv", pointwise(plan.map.channels / 2));
  add_pooling(plan, name + " (average pooling)", 2);
  return [layer](const ForwardPass& pass, const Tensor& x) {
    return pool(Pooling::Average, apply(layer, pass, x));
  };
}

}  // namespace

std::unique_ptr<Network> make_densenet121(ImageShape input, std::int64_t num_classes) {
  Plan plan("DenseNet-121", input);
  std::vector<Part> parts = {add_bare_convolution(plan, "conv1", {.channels = 2 * kGrowth})};
  for (std::size_t block = 0; block < kLayers.size(); ++block) {
    if (block > 0) parts.push_back(add_transition(plan, str("trans", block)));
    for (std::int64_t i = 0; i < kLayers[block]; ++i) {
      parts.push_back(add_dense_layer(plan, str("dense", block + 1, ".", i)));
    }
  }
  parts.push_back(add_norm_relu(plan, "bn"));
  return make_pooled(std::move(plan), sequence(std::move(parts)), "linear", num_classes);
}

}  // namespace retort::nn
