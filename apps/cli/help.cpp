#include "apps/cli/help.h"

#include <algorithm>
#include <sstream>

#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::cli {
namespace {

constexpr std::size_t kLineWidth = 100;
constexpr std::size_t kHelpColumn = 28;

std::string placeholder(const config::Option& option) { return option.is_flag ? "" : " VALUE"; }

/// "(1 .. 1000; default 20; also --lr-img)"
std::string details(const config::Option& option) {
  std::vector<std::string> parts;
  if (!option.is_flag && !option.range.empty()) parts.push_back(option.range);
  if (option.is_flag) {
    if (option.default_text == "true") parts.push_back("default true, =false to switch off");
  } else if (!option.default_text.empty()) {
    parts.push_back("default " + option.default_text);
  }
  for (const auto& alias : option.aliases) parts.push_back("also --" + alias);
  return parts.empty() ? "" : str(" (", join(parts, "; "), ")");
}

}  // namespace

std::string wrapped(const std::string& text, std::size_t width, std::size_t indent) {
  std::istringstream words(text);
  std::string result;
  std::string word;
  std::size_t column = indent;
  while (words >> word) {
    if (column > indent && column + 1 + text_width(word) > width) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += word;
    column += text_width(word);
  }
  return result;
}

std::string options_help(const std::string& heading, const config::OptionTable& table) {
  std::string text = heading + ":\n";
  for (const auto& option : table.options()) {
    std::string name = str("  --", option.name, placeholder(option));
    if (name.size() + 2 > kHelpColumn) {
      name += "\n" + std::string(kHelpColumn, ' ');
    } else {
      name.resize(kHelpColumn, ' ');
    }
    text += name + wrapped(option.help + details(option), kLineWidth, kHelpColumn) + "\n";
  }
  return text;
}

}  // namespace retort::cli
