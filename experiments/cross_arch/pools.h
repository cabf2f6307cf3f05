#pragma once
// Which networks papers test a set on that was condensed in another one.

#include <string>
#include <vector>

#include "lib/nn/network.h"

namespace retort::experiments {

struct Pool {
  std::string name;
  std::string source;                 ///< paper, and the name in its code
  std::vector<std::string> networks;  ///< a ConvNet without a depth: as deep as the image size asks
};

const std::vector<Pool>& pools();

/// @throws ConfigError for an unknown pool, spelling out the known ones
const Pool& find_pool(const std::string& name);

/// Its networks for images of this shape.
std::vector<std::string> networks_of(const Pool& pool, nn::ImageShape shape);

}  // namespace retort::experiments
