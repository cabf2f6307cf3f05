#pragma once

#include <string>

#include "apps/commands/folder_kind.h"

namespace retort::commands {

/// Prints what the folder of a study, search or sweep is of, and whether it is finished.
/// @param kind for which is_study holds
/// @throws StorageError after printing when a file is damaged
void print_study(const std::string& folder, FolderKind kind, bool as_json);

}  // namespace retort::commands
