#include "lib/core/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "lib/core/str.h"

namespace retort {
namespace {

using Row = std::vector<std::string>;

std::vector<std::size_t> widths_of(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], text_width(row[i]));
    }
  }
  return widths;
}

}  // namespace

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::size_t text_width(const std::string& text) {
  return text.size() - std::size_t(std::count_if(text.begin(), text.end(), continues_character));
}

std::string fixed(double value, int digits) {
  std::array<char, 400> text{};  // the largest double has 309 digits
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fixed(bytes, 0) + " B";
  if (bytes < 1e6) return fixed(bytes / 1e3, 1) + " kB";
  if (bytes < 1e9) return fixed(bytes / 1e6, 1) + " MB";
  return fixed(bytes / 1e9, 2) + " GB";
}

std::string duration_text(double seconds) {
  const auto padded = [](long value) { return value < 10 ? str("0", value) : str(value); };
  if (!(seconds > 0)) seconds = 0;
  if (seconds < 10) return str(std::round(seconds * 10) / 10, " s");
  const long whole = std::lround(seconds);
  if (whole < 60) return str(whole, " s");
  if (whole < 3600) return str(whole / 60, " min ", padded(whole % 60), " s");
  return str(whole / 3600, " h ", padded(whole % 3600 / 60), " min");
}

std::string columns(const std::vector<Row>& rows, const ColumnStyle& style) {
  const std::vector<std::size_t> widths = widths_of(rows);
  std::string text;
  for (const auto& row : rows) {
    text += style.indent;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - text_width(row[i]), ' ');
      if (i > 0) text += "  ";
      if (i >= style.numbers_from) {
        text += padding + row[i];
      } else {
        text += row[i] + (i + 1 < row.size() ? padding : "");
      }
    }
    text += "\n";
  }
  return text;
}

}  // namespace retort
