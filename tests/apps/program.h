#pragma once
// The real program on the generated dataset `shapes`.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace retort::testing {

using Words = std::vector<std::string>;

/// `words`, then `more`.
Words joined(Words words, const Words& more);

/// A folder to work in, and the program in it. Starting a LibTorch process takes half a second, so
/// most commands run inside the test's own.
class Workspace {
 public:
  Workspace();
  /// Runs `retort words...` to its end: everything but main itself.
  ProcessResult retort(const Words& words) const;
  /// The same of a command that has to end with exit code 0.
  ProcessResult succeed(const Words& words) const;
  /// The real program under way.
  Process start(const Words& words) const;
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

 private:
  TemporaryFolder folder_;
};

/// Until `reached` says yes, a minute at most.
void wait_until(const std::function<bool()>& reached);

/// Waits until `reached`, then sends the signal.
/// @return what the process left; its own exit code if it had ended before
ProcessResult signal_when(Process& running, int number, const std::function<bool()>& reached);

/// A set of 2 random real images per class of `shapes`, made once: run/ and set.h5.
const Workspace& condensed_shapes();

/// A protocol that trains a small network for one epoch, as a file in `workspace`.
std::string tiny_protocol(const Workspace& workspace);

}  // namespace retort::testing
