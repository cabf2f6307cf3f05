#pragma once
// Files that cannot grow: as on a full disk, but for the reason.

#include <csignal>
#include <sys/resource.h>

#include "tests/support/catch.h"

namespace retort::testing {

/// While it lives no file of this process becomes larger: writing more fails with "File too large".
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &usual_) == 0);
    rlimit small = usual_;
    small.rlim_cur = bytes;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &usual_);
    std::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit usual_{};
};

}  // namespace retort::testing
