#pragma once

#include <string>

namespace retort::commands {

/// Prints what a file of expert trajectories, or a part of one, holds, and how training went: one
/// line per snapshot, the mean over experts. @throws StorageError
void print_experts(const std::string& path, bool as_json);

}  // namespace retort::commands
