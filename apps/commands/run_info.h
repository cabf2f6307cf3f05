#pragma once

#include <string>

namespace retort::commands {

/// Prints what runs in a run folder, how far it is, and what of its files cannot be read.
/// @throws StorageError if it is no run folder, or after printing when a file is damaged
void print_run(const std::string& folder, bool as_json);

}  // namespace retort::commands
