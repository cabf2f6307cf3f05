#pragma once

#include <string>

namespace retort::commands {

/// Prints what runs in the folder of a run, study, search or sweep, how far it is, and what of a
/// run's files cannot be read.
/// @throws StorageError if it is no such folder, or after printing when a file is damaged
void print_run(const std::string& folder, bool as_json);

}  // namespace retort::commands
