#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace retort {

struct Progress {
  std::string phase;       ///< what is going on: "condensing", "training network 2 of 5"
  std::int64_t done = 0;   ///< units finished
  std::int64_t total = 0;  ///< units in all
  /// Of `done`, what was there before: a rate does not count it. All that is done when the phase is
  /// first seen is not counted anyway.
  std::int64_t earlier = 0;
  std::optional<double> loss;
  double seconds_left = -1;  ///< negative: not known yet
};

/// Where progress goes. The terminal bar lives in apps/cli; the default drops everything.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void update(const Progress&) {}
  virtual void finish() {}
};

/// A sink that ignores everything, for callers that show nothing.
ProgressSink& no_progress();

}  // namespace retort
