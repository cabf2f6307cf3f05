#include <algorithm>
#include <bit>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/nn/chain.h"
#include "lib/nn/network.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kMaxDepth = 16;
constexpr std::int64_t kMaxWidth = 4096;

std::string norm_suffix(Norm norm) {
  switch (norm) {
    case Norm::None:
      return "-NN";
    case Norm::Batch:
      return "-BN";
    case Norm::Layer:
      return "-LN";
    case Norm::Instance:
      return "";
    case Norm::Group:
      return "-GN";
  }
  return "";
}

std::string activation_suffix(Activation activation) {
  switch (activation) {
    case Activation::Relu:
      return "";
    case Activation::LeakyRelu:
      return "-leakyrelu";
    case Activation::Sigmoid:
      return "-sigmoid";
    case Activation::Swish:
      return "-swish";
  }
  return "";
}

std::string pooling_suffix(Pooling pooling) {
  switch (pooling) {
    case Pooling::None:
      return "-nopool";
    case Pooling::Max:
      return "-max";
    case Pooling::Average:
      return "";
  }
  return "";
}

std::string canonical_name(const ConvNetConfig& config) {
  const std::string width =
      config.width == ConvNetConfig{}.width ? std::string() : str("-w", config.width);
  return str("ConvNet-", config.depth, norm_suffix(config.norm), width,
             activation_suffix(config.activation), pooling_suffix(config.pooling));
}

void expect_in_range(const char* what, std::int64_t value, std::int64_t high) {
  if (value >= 1 && value <= high) return;
  throw ConfigError(str("ConvNet: ", what, " must be in 1 .. ", high, ", found ", value));
}

}  // namespace

std::unique_ptr<Network> make_convnet(const ConvNetConfig& config, ImageShape input,
                                      std::int64_t num_classes) {
  expect_in_range("depth", config.depth, kMaxDepth);
  expect_in_range("width", config.width, kMaxWidth);
  ChainConfig chain{.name = canonical_name(config),
                    .blocks = {},
                    .norm = config.norm,
                    .activation = config.activation,
                    .pooling = config.pooling,
                    .fast_convolutions = true,
                    .hidden = {},
                    .linear_names = {"classifier"}};
  chain.blocks.assign(std::size_t(config.depth), ChainBlock{.channels = config.width});
  return make_chain(chain, input, num_classes);
}

std::int64_t default_convnet_depth(ImageShape input) {
  // The first convolution pads one-channel images by 4 pixels in all: 28 counts as 32.
  const std::int64_t side = std::min(input.height, input.width) + (input.channels == 1 ? 4 : 0);
  const auto log2_side = std::int64_t(std::bit_width(std::uint64_t(side))) - 1;
  return std::max<std::int64_t>(1, log2_side - 2);
}

}  // namespace retort::nn
