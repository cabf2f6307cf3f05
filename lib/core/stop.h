#pragma once

#include <atomic>
#include <string>

#include "lib/core/error.h"

namespace retort {

/// Set by a signal handler, read between iterations. Safe to set from a signal handler.
class StopFlag {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

/// @throws Interrupted naming `what` was going on, if a stop was requested; a null flag never is
inline void leave_if_requested(const StopFlag* stop, const std::string& what) {
  if (stop != nullptr && stop->requested()) throw Interrupted(what + " was interrupted");
}

}  // namespace retort
