#pragma once

#include <string>
#include <vector>

#include "lib/eval/protocol.h"

namespace retort::experiments {

/// A protocol of experiments/protocols by its name, or one from a file. The file's name without
/// ending names it in every table, with '_' for what is not a letter, digit, '.', '-' or '_'.
/// @throws ConfigError spelling out the known names, or for a file of another protocol that is
///         called like one of them; StorageError for a file that cannot be read
eval::Protocol load_protocol(const std::string& name_or_path);
std::vector<std::string> protocol_names();

}  // namespace retort::experiments
