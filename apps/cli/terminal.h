#pragma once
// What people see while a command works: progress and log on stderr.

#include <cstdio>
#include <mutex>
#include <string>

#include "lib/core/log.h"
#include "lib/core/progress.h"

namespace retort::cli {

/// A progress bar on a terminal, else a plain line about every ten seconds. May be
/// called from several threads.
class Terminal : public ProgressSink {
 public:
  /// @param stream where everything goes: stderr
  /// @param interactive whether the stream understands carriage returns
  Terminal(std::FILE* stream, bool interactive);
  ~Terminal() override;

  /// No progress and no information; warnings and errors stay.
  void set_quiet(bool quiet);
  void update(const Progress& progress) override;
  void finish() override;
  void log(log::Level level, const std::string& message);

 private:
  void clear_bar();

  std::FILE* const stream_;
  const bool interactive_;
  bool quiet_ = false;
  std::mutex mutex_;
  std::string phase_;
  std::size_t bar_width_ = 0;    ///< characters of the bar on screen
  std::int64_t first_done_ = 0;  ///< units made in it when the phase was first seen
  double phase_start_ = 0;
  double last_shown_ = 0;
};

/// "condensing 120/1000, loss 0.1234, 3.4/s, 4 min 10 s left".
/// @param rate units per second; 0: not known
std::string progress_text(const Progress& progress, double rate);

}  // namespace retort::cli
