#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/log.h"
#include "methods/method.h"

namespace retort::methods {

/// Images of a class in the pictures that a run keeps on its way.
inline constexpr std::int64_t kPictureColumns = 10;

/// Names of what lies in a run folder.
struct RunFolder {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.cfg"; }
  std::filesystem::path session() const { return root / "session.cfg"; }
  std::filesystem::path metrics() const { return root / "metrics.csv"; }
  std::filesystem::path evaluations() const { return root / "evaluations.csv"; }
  std::filesystem::path log() const { return root / "log.txt"; }
  std::filesystem::path checkpoint() const { return root / "checkpoint.h5"; }
  std::filesystem::path set() const { return root / "set.h5"; }
  std::filesystem::path grid() const { return root / "grid.png"; }
  std::filesystem::path grid(std::int64_t iteration) const;
  /// Whether one of these has this file name.
  bool owns(const std::string& file_name) const;
};

/// Removes what killed writes of the run's own files left. Whoever calls holds the RunLock.
void remove_temporaries(const RunFolder& folder);

/// A CSV file that grows by rows whose first column is the iteration (metrics.csv) or the
/// iterations done (evaluations.csv). Opened for a resumed run it drops the rows from
/// `next_iteration` on: they will be made again.
class CsvLog {
 public:
  /// @throws StorageError naming file and line when a kept row does not begin with a number
  CsvLog(std::filesystem::path path, std::int64_t next_iteration);
  /// The first row written to an empty file fixes the header.
  void row(const std::vector<std::pair<std::string, std::string>>& columns);

 private:
  std::filesystem::path path_;
  bool has_header_ = false;
};

/// Makes a folder with its parents, and can take that back.
class MadeFolder {
 public:
  /// @throws StorageError
  explicit MadeFolder(std::filesystem::path root);
  /// Removes everything in the folder and the folders that were made. Nothing happens to a folder
  /// that held something before.
  void take_back() const;

 private:
  std::filesystem::path root_;
  std::vector<std::filesystem::path> made_;  ///< the deepest first
  bool was_empty_ = true;
};

/// While it lives, no other process can work in the run folder.
class RunLock {
 public:
  /// @throws ConfigError if another process holds it  @throws StorageError
  explicit RunLock(const std::filesystem::path& root);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int file_ = -1;
};

/// While it lives, every log message is also appended to a file.
class LogFile {
 public:
  /// @throws StorageError if it cannot be opened for appending
  explicit LogFile(const std::filesystem::path& path);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
  /// Into the file only: for what somebody else shows.
  void write(log::Level level, const std::string& message) const;

 private:
  std::shared_ptr<std::ofstream> file_;
  log::Sink previous_;
};

/// What goes on around a run and is no part of it: kept in session.cfg, so that a resumed run
/// needs not be told again.
struct Session {
  std::string out;                 ///< absolute path of the copy of the set; empty: none
  double time_budget_seconds = 0;  ///< 0: none
  bool tensorboard = false;        ///< event files are written

  bool empty() const { return out.empty() && time_budget_seconds == 0 && !tensorboard; }
  void describe(config::OptionTable& table);
};
/// @throws ConfigError with the line of a file that is not understood
Session read_session(const std::filesystem::path& path);
void write_session(const std::filesystem::path& path, Session session);

/// The configuration that a run goes on with when its folder is all that is known: the plan in its
/// checkpoint, else its config.cfg, which of a run ended by its time budget holds the iterations
/// reached. Nothing if the folder has neither.
struct StoredConfig {
  std::string source;  ///< the file, for messages
  std::string text;
};
std::optional<StoredConfig> stored_config(const std::filesystem::path& run_dir);

/// The command that goes on with a run.
std::string resume_command(const std::filesystem::path& run_dir);

/// The configuration text with another value of `iterations`.
std::string with_iterations(const std::string& config, std::int64_t iterations);

}  // namespace retort::methods
