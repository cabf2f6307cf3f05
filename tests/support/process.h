#pragma once
// Runs a program the way a person does.

#include <filesystem>
#include <string>
#include <sys/types.h>
#include <vector>

namespace retort::testing {

/// What a finished program left behind.
struct ProcessResult {
  int exit_code = -1;  ///< 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

/// A folder under the system's temporary one, removed at the end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A running program. Its outputs go to files in `folder`, which is also its working folder.
class Process {
 public:
  /// @param command the program's path, then its words
  /// @param environment "NAME=value" entries in front of the inherited ones
  Process(const std::vector<std::string>& command, const std::filesystem::path& folder,
          const std::vector<std::string>& environment = {});
  /// Kills what still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number);
  /// Waits for the end. @throws Error after `timeout_seconds`; the program is killed
  ProcessResult wait(double timeout_seconds = 120);

 private:
  std::filesystem::path out_;
  std::filesystem::path err_;
  std::string name_;
  pid_t pid_ = -1;
};

}  // namespace retort::testing
