#pragma once
// The program starts itself again: one process per run, so that runs neither share memory nor die
// together.

#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace retort::cli {

/// How a process ended.
struct Ended {
  int code = 0;    ///< of exit
  int signal = 0;  ///< that ended it; 0: it left by itself

  bool well() const { return code == 0 && signal == 0; }
  /// "exit code 1", "signal 9 (Killed)"
  std::string text() const;
};

/// `retort WORDS` under way. Signals of the terminal do not reach it, interrupt() does; when this
/// process dies, however that ends, it is asked to stop as well.
class ChildProcess {
 public:
  struct Outputs {
    std::filesystem::path out;  ///< stdout is appended to it
    std::filesystem::path err;  ///< and stderr to this one, which may be the same
  };
  /// @param kept an open file that stays open in the child until its end; -1: none
  /// @throws StorageError if an output cannot be opened, Error if no process can be made
  ChildProcess(const std::vector<std::string>& words, const Outputs& outputs, int kept = -1);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  /// Asks a child that still runs to stop, and waits for it.
  ~ChildProcess();

  /// Nothing while it runs.
  std::optional<Ended> poll();
  /// As Ctrl-C: it saves and leaves.
  void interrupt() const;

 private:
  pid_t pid_ = -1;  ///< -1: ended, or moved from
};

}  // namespace retort::cli
