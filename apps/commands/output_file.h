#pragma once
// What a command may write over.

#include <filesystem>
#include <string>

#include "lib/config/options.h"

namespace retort::commands {

/// What a command writes to --out.
enum class FileKind { Set, Picture, PyTorch, NumPy, Evaluation, Ranking, Report };

/// --out and --force of a command that writes one file. A file is replaced only by its like: a set
/// by a set, a picture by a picture, or with --force.
struct OutputFile {
  std::string path;
  bool force = false;

  void describe(config::OptionTable& table, const std::string& help);
  /// @param input the file that the command reads, never to be overwritten
  /// @throws ConfigError if `path` is `input`, or exists, is no `kind` and `force` is not set
  void check(FileKind kind, const std::string& input) const;
};

/// Of the file's content, not its name; empty files are of every kind.
bool is_of_kind(const std::filesystem::path& path, FileKind kind);

}  // namespace retort::commands
