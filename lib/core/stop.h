#pragma once

#include <atomic>

namespace retort {

/// Set by a signal handler, read between iterations. Safe to set from a signal handler.
class StopFlag {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

}  // namespace retort
