#include "lib/report/html.h"

#include <algorithm>
#include <cstdint>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::uint8_t byte_at(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

/// Bytes that follow the first one of a character, by that first one; -1: none begins so.
int bytes_to_follow(std::uint8_t first) {
  if (first < 0x80) return 0;
  if (first >= 0xC2 && first < 0xE0) return 1;
  if (first >= 0xE0 && first < 0xF0) return 2;
  if (first >= 0xF0 && first < 0xF5) return 3;
  return -1;
}

/// Whether the second byte makes the character an overlong one, a surrogate, or one beyond the
/// last.
bool is_forbidden_second(std::uint8_t first, std::uint8_t second) {
  return (first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) ||
         (first == 0xF0 && second < 0x90) || (first == 0xF4 && second >= 0x90);
}

/// Length of the character at `at`; 0 if there is none of UTF-8.
std::size_t character_length(std::string_view text, std::size_t at) {
  const std::uint8_t first = byte_at(text, at);
  const int follow = bytes_to_follow(first);
  if (follow < 0 || at + std::size_t(follow) >= text.size()) return 0;
  for (int i = 1; i <= follow; ++i) {
    if ((byte_at(text, at + std::size_t(i)) & 0xC0) != 0x80) return 0;
  }
  if (follow > 0 && is_forbidden_second(first, byte_at(text, at + 1))) return 0;
  return std::size_t(follow) + 1;
}

bool is_forbidden_control(std::uint8_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
}

/// Empty for a character that stands for itself.
std::string_view reference_of(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return "";
  }
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    if (length == 0 || is_forbidden_control(byte_at(text, at))) {
      out += kReplacement;
      ++at;
      continue;
    }
    const std::string_view reference = reference_of(text[at]);
    out += reference.empty() ? text.substr(at, length) : reference;
    at += length;
  }
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t here = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < here ? byte_at(bytes, at + i) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= here ? kDigits[group >> (18 - 6 * i) & 63U] : '=';
    }
  }
  return out;
}

std::string data_uri(const std::string& media_type, std::string_view bytes) {
  return str("data:", media_type, ";base64,", base64(bytes));
}

void Html::tag(const std::string& name, const Attributes& attributes, std::string_view end) {
  text_ += "<" + name;
  for (const auto& [key, value] : attributes) {
    text_ += " " + key + "=\"" + escaped(value) + "\"";
  }
  text_ += end;
}

Html& Html::open(const std::string& name, const Attributes& attributes) {
  tag(name, attributes, ">");
  open_.push_back(name);
  return *this;
}

Html& Html::close(const std::string& name) {
  if (open_.empty() || open_.back() != name) {
    throw Error(str("report: </", name, "> would close <", open_.empty() ? "" : open_.back(), ">"));
  }
  open_.pop_back();
  text_ += "</" + name + ">";
  return *this;
}

Html& Html::empty(const std::string& name, const Attributes& attributes) {
  tag(name, attributes, " />");
  return *this;
}

Html& Html::text(std::string_view text) {
  text_ += escaped(text);
  return *this;
}

Html& Html::element(const std::string& name, std::string_view content,
                    const Attributes& attributes) {
  return open(name, attributes).text(content).close(name);
}

Html& Html::markup(std::string_view markup) {
  text_ += markup;
  return *this;
}

std::string Html::finish() && {
  if (!open_.empty()) throw Error(str("report: <", open_.back(), "> was never closed"));
  return std::move(text_);
}

}  // namespace retort::report
