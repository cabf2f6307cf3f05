#pragma once

#include <string>

#include "lib/config/options.h"

namespace retort::nn {

/// Rule of an option that names a network: what make_network knows at some image size.
config::Rule<std::string> network_name();

}  // namespace retort::nn
