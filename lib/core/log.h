#pragma once
// One sink for the whole program, set once by its main; the library never prints.

#include <functional>
#include <string>

namespace retort::log {

enum class Level { Info, Warn, Error };
using Sink = std::function<void(Level, const std::string&)>;

/// Replaces the sink and returns the previous one. The default sink drops everything.
Sink set_sink(Sink sink);

void info(const std::string& message);
void warn(const std::string& message);
void error(const std::string& message);

}  // namespace retort::log
