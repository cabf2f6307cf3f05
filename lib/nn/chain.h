#pragma once
// Networks that are one chain of convolution blocks and linear layers: ConvNet, AlexNet, VGG-11,
// LeNet, MLP. Internal to lib/nn.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/nn/network.h"

namespace retort::nn {

/// Block: convolution (stride 1, bias) -> norm -> activation -> 2x2 pooling where `pool` is set.
struct ChainBlock {
  std::int64_t channels = 0;
  std::int64_t kernel = 3;
  std::int64_t padding = 1;
  bool pool = true;
};

struct ChainConfig {
  std::string name;
  std::vector<ChainBlock> blocks;
  Norm norm = Norm::None;
  Activation activation = Activation::Relu;  ///< also between linear layers
  Pooling pooling = Pooling::Max;
  /// Convolutions by our kernel where it serves. Its error of some 1e-6 a layer stays below 1e-5 in
  /// the few layers of a ConvNet, not in VGG's eight.
  bool fast_convolutions = false;
  std::vector<std::int64_t> hidden;       ///< widths of the linear layers before the last
  std::vector<std::string> linear_names;  ///< one more than `hidden`
};

/// Parameters are named features.<i>, where <i> counts convolutions, norms, activations and
/// poolings as the reference code's nn.Sequential does. One-channel images get 2 more pixels of
/// padding in the first convolution, so that 28x28 continues as 32x32; linear layers follow the
/// map that really arrives, at any image size.
std::unique_ptr<Network> make_chain(const ChainConfig& config, ImageShape input,
                                    std::int64_t num_classes);

}  // namespace retort::nn
