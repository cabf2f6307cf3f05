#include <map>
#include <sstream>

#include "lib/config/options.h"
#include "lib/config/text.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::config {
namespace {

constexpr const char* kBlanks = " \t\r\n";

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string without_comment(const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '#' && (i == 0 || is_blank(text[i - 1]))) return text.substr(0, i);
  }
  return text;
}

/// @param text starts with a double quote  @param where "file:3", for errors
std::string unquoted(const std::string& text, const std::string& where) {
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      if (!trimmed(without_comment(text.substr(i + 1))).empty()) {
        throw ConfigError(str(where, ": text after the closing quote: '", text, "'"));
      }
      return value;
    }
    if (text[i] != '\\') {
      value += text[i];
      continue;
    }
    const char next = ++i < text.size() ? text[i] : '\0';
    if (next == 'n') {
      value += '\n';
    } else if (next == 'r') {
      value += '\r';
    } else if (next == '"' || next == '\\') {
      value += next;
    } else {
      throw ConfigError(str(where, R"(: after a backslash only \ " n r may follow: ')", text, "'"));
    }
  }
  throw ConfigError(str(where, ": the closing quote is missing: '", text, "'"));
}

/// The inverse of what parse_config does to a value.
std::string quoted_if_needed(const std::string& value) {
  const bool needed =
      value.find_first_of("#\"\n\r") != std::string::npos || trimmed(value) != value;
  if (!needed) return value;
  std::string text = "\"";
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text + '"';
}

}  // namespace

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::vector<ConfigEntry> parse_config(const std::string& text, const std::string& source) {
  std::vector<ConfigEntry> entries;
  std::map<std::string, int> seen;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string where = str(source, ":", number);
    if (trimmed(without_comment(line)).empty()) continue;
    const std::size_t equals = line.find('=');
    const std::string key = trimmed(line.substr(0, equals));
    if (equals == std::string::npos || key.empty() || key.find('#') != std::string::npos) {
      throw ConfigError(str(where, ": expected 'key = value', found '", trimmed(line), "'"));
    }
    const auto [first, is_new] = seen.emplace(key, number);
    if (!is_new) {
      throw ConfigError(str(where, ": '", key, "' is already set in line ", first->second));
    }
    // Comments of a quoted value start after the closing quote.
    std::string value = trimmed(line.substr(equals + 1));
    value = value.starts_with('"') ? unquoted(value, where) : trimmed(without_comment(value));
    entries.push_back({.key = key, .value = value, .line = number});
  }
  return entries;
}

void apply_config(OptionTable& table, const std::vector<ConfigEntry>& entries,
                  const std::string& source, Origin origin) {
  for (const auto& entry : entries) {
    with_context(str(source, ":", entry.line), [&] { table.set(entry.key, entry.value, origin); });
  }
}

std::string config_text(const OptionTable& table) {
  std::string text;
  for (const auto& option : table.options()) {
    text += str(option.name, " = ", quoted_if_needed(option.value()), "\n");
  }
  return text;
}

}  // namespace retort::config
