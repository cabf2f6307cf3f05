#include "experiments/cross_arch/pools.h"

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/nn/naming.h"

namespace retort::experiments {

const std::vector<Pool>& pools() {
  static const std::vector<Pool> all = {
      {.name = "dc",
       .source = "DC, ICLR 2021 (M)",
       .networks = {"MLP", "ConvNet", "LeNet", "AlexNet", "VGG-11", "ResNet-18"}},
      {.name = "dm",
       .source = "DM, WACV 2023 (B), BatchNorm",
       .networks = {"ConvNet-BN", "ConvNet-BN-swish", "AlexNet-BN", "VGG-11-BN", "ResNet-18-BN"}},
      {.name = "mtt",
       .source = "MTT, CVPR 2022 (M)",
       .networks = {"ConvNet", "AlexNet", "VGG-11", "ResNet-18-AP", "ResNet-18"}},
  };
  return all;
}

const Pool& find_pool(const std::string& name) {
  std::vector<std::string> known;
  for (const Pool& pool : pools()) {
    if (pool.name == name) return pool;
    known.push_back(pool.name);
  }
  throw ConfigError(unknown_name_message("pool of networks", name, known));
}

std::vector<std::string> networks_of(const Pool& pool, nn::ImageShape shape) {
  std::vector<std::string> networks;
  for (const auto& name : pool.networks) {
    networks.push_back(nn::with_depth(name, nn::default_convnet_depth(shape)));
  }
  return networks;
}

}  // namespace retort::experiments
