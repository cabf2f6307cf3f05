#pragma once
// Peak memory of a piece of work, measured in a process of its own.

#include <cstdint>
#include <functional>
#include <sys/types.h>

namespace retort::bench {

struct MemoryRequest {
  std::int32_t line = 0;
  std::int32_t plain = 0;  ///< 1: the opponent's side
  std::int32_t cores = 1;
};

/// A server that forks one child per request. It is itself forked from a program that has no other
/// thread yet, since none would survive in the children.
class PeakMemory {
 public:
  /// Call before any tensor work. @param work what a child does  @throws Error if there is no
  /// process or pipe to be had
  explicit PeakMemory(const std::function<void(const MemoryRequest&)>& work);
  ~PeakMemory();
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;

  /// Largest resident set of a process that did this and nothing else, in bytes.
  /// @throws Error if the work failed
  double of(const MemoryRequest& request);

 private:
  pid_t server_ = -1;
  int requests_ = -1;  ///< written by this process
  int replies_ = -1;   ///< read by this process
};

}  // namespace retort::bench
