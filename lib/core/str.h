#pragma once

#include <sstream>
#include <string>

namespace retort {

/// Joins values into one string: str("expected ", 3, " files, found ", n).
template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// "a, b, c" from any range of printable values.
template <class Range>
std::string join(const Range& values, const std::string& separator = ", ") {
  std::ostringstream out;
  bool first = true;
  for (const auto& value : values) {
    if (!first) out << separator;
    out << value;
    first = false;
  }
  return out.str();
}

}  // namespace retort
