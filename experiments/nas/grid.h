#pragma once
// The architectures that a search chooses from: ConvNets of every width, depth, norm, activation
// and pooling (the 720 of Zhao et al., ICLR 2021, section 4.4), or some of them.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/nn/network.h"

namespace retort::experiments::nas {

/// Which values of each choice are searched; by default all of the grid.
struct Filter {
  std::vector<std::int64_t> widths{32, 64, 128, 256};
  std::vector<std::int64_t> depths{1, 2, 3, 4};
  std::vector<std::string> norms{"none", "BN", "LN", "IN", "GN"};
  std::vector<std::string> activations{"sigmoid", "ReLU", "LeakyReLU"};
  std::vector<std::string> poolings{"none", "max", "average"};
};

struct Architecture {
  nn::ConvNetConfig config;
  std::string norm;  ///< as in Filter
  std::string activation;
  std::string pooling;
};

/// Every combination, in the order of the grid: pooling changes fastest, width slowest. The order
/// and repetitions within the filter do not matter, nor do capitals.
/// @throws ConfigError for a choice without values, and for a value that is not in the grid, naming
///         the option and those that are
std::vector<Architecture> architectures(const Filter& filter);

using Networks = std::vector<std::unique_ptr<nn::Network>>;

/// One network per architecture.
/// @throws ConfigError for a depth that images of this size do not allow, naming those they do
Networks make_networks(const std::vector<Architecture>& architectures, nn::ImageShape input,
                       std::int64_t num_classes);

}  // namespace retort::experiments::nas
