#pragma once
// Folders that commands leave, told apart by what lies in them.

#include <filesystem>
#include <string>

namespace retort::commands {

enum class FolderKind {
  Run,     ///< of `condense`, or a step of a study: config.cfg, checkpoint.h5 or set.h5
  Study,   ///< of `continual`
  Search,  ///< of `nas`
  Sweep,   ///< of `sweep`
  Other
};

/// @param folder that exists
FolderKind folder_kind(const std::filesystem::path& folder);

/// Whether many runs lie below. @return false for one run and for what is of no command
bool is_study(FolderKind kind);

/// "the folder of a search of `retort nas`: its result is in ..."
/// @param kind for which is_study holds
std::string folder_text(FolderKind kind);

/// Says what is missing for the folder of a run. @throws StorageError
[[noreturn]] void refuse_other_folder(const std::string& word);

/// The set that a word of a command line means: of a run folder the one in it.
/// @throws ConfigError for the folder of a study, search or sweep; StorageError for any other
///         folder without a set
std::string set_file(const std::string& word);

}  // namespace retort::commands
