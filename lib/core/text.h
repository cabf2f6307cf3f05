#pragma once
// Numbers and tables as people read them.

#include <cstddef>
#include <string>
#include <vector>

namespace retort {

/// Whether a byte of UTF-8 goes on with a character rather than begins one.
bool continues_character(char c);

/// Characters rather than bytes: continuation bytes of UTF-8 are not counted.
std::size_t text_width(const std::string& text);

/// "84.50" for (84.5, 2)
std::string fixed(double value, int digits);

/// "999 B", "31.4 kB", "1.2 MB", "2.50 GB"
std::string bytes_text(double bytes);

/// "2 h 05 min", "3 min 20 s", "42 s", "0.4 s"; less than nothing counts as nothing
std::string duration_text(double seconds);

struct ColumnStyle {
  std::string indent{};                        ///< in front of every line
  std::size_t numbers_from = std::size_t(-1);  ///< columns from this one on stand to the right
};

/// Columns as wide as their widest entry, two blanks between them; the last one
/// is not padded.
std::string columns(const std::vector<std::vector<std::string>>& rows,
                    const ColumnStyle& style = {});

}  // namespace retort
