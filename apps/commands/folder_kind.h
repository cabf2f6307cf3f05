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

/// "the folder of a search of `retort nas`: its result is in results.json and scatter-*.svg"; for
/// what is neither a run nor unknown
std::string folder_text(FolderKind kind);

/// The set that a word of a command line means: of a run folder the one in it.
/// @throws StorageError for a folder without one, saying what it is
std::string set_file(const std::string& word);

}  // namespace retort::commands
