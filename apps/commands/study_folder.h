#pragma once
// What commands that do a whole study have in common: their folder, and how they work in it.

#include <filesystem>
#include <functional>
#include <string>

#include "apps/cli/command.h"
#include "lib/config/options.h"

namespace retort::commands {

/// What lies in the folder of every study, beside what is its own.
struct StudyFolder {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.cfg"; }
  std::filesystem::path log() const { return root / "log.txt"; }
  std::filesystem::path results() const { return root / "results.json"; }
};

/// Options of what goes on around a study: not recorded.
struct StudySession {
  std::string run_dir;
  std::string config;
  bool resume = false;
  bool dry_run = false;

  /// @param study what to call it: "study", "search"
  void describe(config::OptionTable& table, const std::string& study);
  /// --run-dir, or a new one in runs/.
  std::filesystem::path folder(const std::string& name) const;
};

/// One study, as its folder sees it.
struct StudyWork {
  std::string noun;    ///< "study", "search"
  std::string config;  ///< `key = value` lines that repeat it
  /// Whether a result that is there is of this study. @throws ConfigError
  std::function<void()> check_finished;
  /// Whether something is there that another try would go on with.
  std::function<bool()> begun;
  /// Writes everything, results.json last.
  std::function<void()> make;
  /// Of files below: what a finished study no longer needs. May be null.
  std::function<bool(const std::filesystem::path&)> unneeded;
};

/// Works in the folder, which it locks, until results.json is there. An error is in log.txt, too;
/// the folder of a study that could not even start is removed again.
/// @throws ConfigError for the folder of another study; what `make` throws
void work_in(const StudyFolder& folder, const StudyWork& work, cli::Program& program);

}  // namespace retort::commands
