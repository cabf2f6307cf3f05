#include "lib/core/log.h"

#include <mutex>
#include <utility>

namespace retort::log {
namespace {

std::mutex& sink_mutex() {
  static std::mutex mutex;
  return mutex;
}

Sink& current_sink() {
  static Sink sink;
  return sink;
}

void emit(Level level, const std::string& message) {
  const std::lock_guard lock(sink_mutex());
  if (current_sink()) current_sink()(level, message);
}

}  // namespace

Sink set_sink(Sink sink) {
  const std::lock_guard lock(sink_mutex());
  return std::exchange(current_sink(), std::move(sink));
}

void info(const std::string& message) { emit(Level::Info, message); }
void warn(const std::string& message) { emit(Level::Warn, message); }
void error(const std::string& message) { emit(Level::Error, message); }

}  // namespace retort::log
