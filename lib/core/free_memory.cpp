#include "lib/core/free_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace retort {
namespace {

namespace fs = std::filesystem;

/// Of a file that holds a number; none for "max" and for what is not there.
std::optional<double> number_in(const fs::path& file) {
  std::ifstream in(file);
  double number = 0;
  if (!(in >> number)) return std::nullopt;
  return number;
}

/// Behind `key` in a file of keys and numbers.
std::optional<double> number_of(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    double number = 0;
    if (word == key && in >> number) return number;
  }
  return std::nullopt;
}

/// Names of the files in which a version of control groups keeps its numbers.
struct GroupFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;  ///< in memory.stat: cached files, which make room when they have to
};
constexpr GroupFiles kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes",
                            "total_inactive_file"};
constexpr GroupFiles kSecond{"memory.max", "memory.current", "inactive_file"};

double left_in(const fs::path& group, const GroupFiles& files) {
  const auto limit = number_in(group / files.limit);
  if (!limit) return std::numeric_limits<double>::infinity();
  const double cached = number_of(group / "memory.stat", files.reclaimable).value_or(0);
  const double used = number_in(group / files.usage).value_or(0);
  return std::max(0.0, *limit - std::max(0.0, used - cached));
}

/// What the group and those around it leave. Groups that cannot be seen from within a container are
/// passed over: its own then lies at the root.
double left_around(const fs::path& root, fs::path group, const GroupFiles& files) {
  double left = left_in(root, files);
  for (; group.has_relative_path(); group = group.parent_path()) {
    left = std::min(left, left_in(root / group.relative_path(), files));
  }
  return left;
}

}  // namespace

double free_memory_bytes(const MemoryPlaces& places) {
  double left = std::numeric_limits<double>::infinity();
  if (const auto kilobytes = number_of(places.meminfo, "MemAvailable:")) left = *kilobytes * 1024;
  std::ifstream own(places.own_groups);
  for (std::string line; std::getline(own, line);) {
    // "0::/path" of the second version, "4:memory:/path" of the first
    const auto controllers = line.find(':') + 1;
    const auto path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string which = line.substr(controllers, path - 1 - controllers);
    if (which.empty()) {
      left = std::min(left, left_around(places.groups, line.substr(path), kSecond));
    } else if (which == "memory") {
      left = std::min(left, left_around(places.groups / "memory", line.substr(path), kFirst));
    }
  }
  return left < std::numeric_limits<double>::infinity() ? left : 0;
}

}  // namespace retort
