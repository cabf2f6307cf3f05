#include "apps/cli/terminal.h"

#include <algorithm>

#include "lib/core/clock.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::cli {
namespace {

constexpr double kBarInterval = 0.1;
constexpr double kLineInterval = 10;
constexpr int kBarCells = 24;

std::string bar(const Progress& progress) {
  const double fraction = progress.total > 0 ? double(progress.done) / double(progress.total) : 0.0;
  const int full = std::clamp(int(fraction * kBarCells), 0, kBarCells);
  return str('[', std::string(std::size_t(full), '#'),
             std::string(std::size_t(kBarCells - full), '.'), "] ");
}

std::string short_number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

}  // namespace

std::string progress_text(const Progress& progress, double rate) {
  std::string text = str(progress.phase, ' ', progress.done, '/', progress.total);
  if (progress.loss) text += ", loss " + short_number(*progress.loss);
  if (rate > 0)
    text += rate >= 1 ? str(", ", short_number(rate), "/s")
                      : str(", ", duration_text(1 / rate), " each");
  double left = progress.seconds_left;
  if (left < 0 && rate > 0) left = double(progress.total - progress.done) / rate;
  if (left >= 0) text += str(", ", duration_text(left), " left");
  return text;
}

Terminal::Terminal(std::FILE* stream, bool interactive)
    : stream_(stream), interactive_(interactive) {}

Terminal::~Terminal() { finish(); }

void Terminal::set_quiet(bool quiet) { quiet_ = quiet; }

void Terminal::update(const Progress& progress) {
  if (quiet_) return;
  const std::lock_guard lock(mutex_);
  const double now = wall_seconds();
  if (progress.phase != phase_) {
    phase_ = progress.phase;
    phase_start_ = now;
    first_done_ = progress.done - progress.earlier;
    last_shown_ = interactive_ ? 0 : now;
  }
  const bool last = progress.total > 0 && progress.done >= progress.total;
  const double interval = interactive_ ? kBarInterval : kLineInterval;
  if (now - last_shown_ < interval && !(last && interactive_)) return;
  last_shown_ = now;
  const double seconds = now - phase_start_;
  const std::int64_t made = progress.done - progress.earlier - first_done_;
  const double rate = seconds > 0 ? double(made) / seconds : 0;
  const std::string text = progress_text(progress, rate);
  if (!interactive_) {
    std::fprintf(stream_, "%s\n", text.c_str());
    return;
  }
  const std::string line = bar(progress) + text;
  std::fprintf(stream_, "\r%-*s", int(bar_width_), line.c_str());
  bar_width_ = line.size();
}

void Terminal::clear_bar() {
  if (bar_width_ > 0) std::fprintf(stream_, "\r%*s\r", int(bar_width_), "");
  bar_width_ = 0;
}

void Terminal::finish() {
  const std::lock_guard lock(mutex_);
  clear_bar();
  phase_.clear();
}

void Terminal::log(log::Level level, const std::string& message) {
  if (quiet_ && level == log::Level::Info) return;
  const std::lock_guard lock(mutex_);
  clear_bar();
  const char* prefix = "";
  switch (level) {
    case log::Level::Info:
      break;
    case log::Level::Warn:
      prefix = "warning: ";
      break;
    case log::Level::Error:
      prefix = "error: ";
      break;
  }
  std::fprintf(stream_, "%s%s\n", prefix, message.c_str());
}

}  // namespace retort::cli
