#pragma once

#include <string>
#include <vector>

#include "lib/eval/protocol.h"

namespace retort::experiments {

/// A protocol of experiments/protocols by its name, or one from a file (its stem is the name).
/// @throws ConfigError spelling out the known names; StorageError for a file that cannot be read
eval::Protocol load_protocol(const std::string& name_or_path);
std::vector<std::string> protocol_names();

}  // namespace retort::experiments
