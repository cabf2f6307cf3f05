#pragma once

#include "lib/core/parallel.h"

namespace retort::testing {

/// While it lives, the program has so many threads; one again behind it.
class WithThreads {
 public:
  explicit WithThreads(int threads) { set_thread_count(threads); }
  ~WithThreads() { set_thread_count(1); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;
};

}  // namespace retort::testing
