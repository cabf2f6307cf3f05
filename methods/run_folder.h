#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/core/log.h"
#include "methods/method.h"

namespace retort::methods {

/// Names of what lies in a run folder.
struct RunFolder {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.cfg"; }
  std::filesystem::path metrics() const { return root / "metrics.csv"; }
  std::filesystem::path evaluations() const { return root / "evaluations.csv"; }
  std::filesystem::path log() const { return root / "log.txt"; }
  std::filesystem::path checkpoint() const { return root / "checkpoint.h5"; }
  std::filesystem::path set() const { return root / "set.h5"; }
  std::filesystem::path grid() const { return root / "grid.png"; }
  std::filesystem::path grid(std::int64_t iteration) const;
};

/// A CSV file that grows by rows whose first column is the iteration. Opened for a resumed run it
/// drops the rows from `next_iteration` on: they will be made again.
class CsvLog {
 public:
  CsvLog(std::filesystem::path path, std::int64_t next_iteration);
  /// The first row written to an empty file fixes the header.
  void row(const std::vector<std::pair<std::string, std::string>>& columns);

 private:
  std::filesystem::path path_;
  bool has_header_ = false;
};

/// While it lives, every log message is also appended to a file.
class LogFile {
 public:
  explicit LogFile(const std::filesystem::path& path);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

 private:
  log::Sink previous_;
};

/// Replaces or appends `key = value` in a text of such lines; an empty value removes the line.
std::string with_entry(const std::string& config, const std::string& key, const std::string& value);

}  // namespace retort::methods
