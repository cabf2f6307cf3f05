#include "apps/commands/class_folder.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string_view>

#include "lib/core/text.h"

namespace retort::commands {
namespace {

constexpr std::size_t kLongestName = 100;  // file systems end at 255 bytes

/// Class names come from files: nothing in them may be a path.
std::string tame(std::string name) {
  const auto harmless = [](unsigned char c) {
    return c >= 0x80 || std::isalnum(c) != 0 ||
           std::string_view(" -_.,&'()+").find(char(c)) != std::string_view::npos;
  };
  std::replace_if(
      name.begin(), name.end(), [&](char c) { return !harmless(static_cast<unsigned char>(c)); },
      '_');
  if (name.size() > kLongestName) {
    std::size_t end = kLongestName;
    // Not within a character of UTF-8.
    while (end > 0 && continues_character(name[end])) --end;
    name.resize(end);
  }
  // Some systems drop dots and blanks at the end.
  while (!name.empty() && (name.back() == '.' || name.back() == ' ')) name.pop_back();
  return name;
}

}  // namespace

std::string class_folder(const std::vector<std::string>& class_names, std::int64_t c) {
  char number[32];
  std::snprintf(number, sizeof number, "%03lld", static_cast<long long>(c));
  const std::string name =
      std::size_t(c) < class_names.size() ? tame(class_names[std::size_t(c)]) : std::string();
  return name.empty() ? number : number + ("-" + name);
}

}  // namespace retort::commands
