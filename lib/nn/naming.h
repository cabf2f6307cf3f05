#pragma once

#include <cstdint>
#include <string>

namespace retort::nn {

/// The name of a ConvNet that says no depth, with `depth`: "ConvNet-w64" and 4 give
/// "ConvNet-4-w64", "ConvNetBN" gives "ConvNet-4-BN". Every other name comes back as it is.
/// @throws ConfigError for a ConvNet's name that cannot be read
std::string with_depth(const std::string& name, std::int64_t depth);

}  // namespace retort::nn
