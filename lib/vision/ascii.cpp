#include "lib/vision/ascii.h"

#include <array>
#include <cstdint>

#include "lib/core/text.h"

namespace retort::vision {
namespace {

constexpr std::uint32_t kFirst = 0xC0;
/// U+00C0 to U+017F: Latin-1 letters and Latin Extended-A.
// clang-format off
constexpr std::array<const char*, 192> kLatin{
    "A", "A", "A", "A", "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I", "I",
    "D", "N", "O", "O", "O", "O", "O", "x", "O", "U", "U", "U", "U", "Y", "Th", "ss",
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i", "i",
    "d", "n", "o", "o", "o", "o", "o", "/", "o", "u", "u", "u", "u", "y", "th", "y",
    "A", "a", "A", "a", "A", "a", "C", "c", "C", "c", "C", "c", "C", "c", "D", "d",
    "D", "d", "E", "e", "E", "e", "E", "e", "E", "e", "E", "e", "G", "g", "G", "g",
    "G", "g", "G", "g", "H", "h", "H", "h", "I", "i", "I", "i", "I", "i", "I", "i",
    "I", "i", "IJ", "ij", "J", "j", "K", "k", "k", "L", "l", "L", "l", "L", "l", "L",
    "l", "L", "l", "N", "n", "N", "n", "N", "n", "n", "N", "n", "O", "o", "O", "o",
    "O", "o", "OE", "oe", "R", "r", "R", "r", "R", "r", "S", "s", "S", "s", "S", "s",
    "S", "s", "T", "t", "T", "t", "T", "t", "U", "u", "U", "u", "U", "u", "U", "u",
    "U", "u", "U", "u", "W", "w", "Y", "y", "Y", "Z", "z", "Z", "z", "Z", "z", "s",
};
// clang-format on

}  // namespace

std::string ascii_text(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      result += byte >= 0x20 && byte < 0x7F ? text[i] : '?';
      continue;
    }
    if (continues_character(text[i])) continue;  // the rest of a character already replaced
    // Letters of the table take two bytes.
    const bool has_next = i + 1 < text.size() && continues_character(text[i + 1]);
    const std::uint32_t letter =
        has_next && byte < 0xE0
            ? (byte & 0x1FU) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3FU)
            : 0;
    result += letter >= kFirst && letter - kFirst < kLatin.size() ? kLatin[letter - kFirst] : "?";
  }
  return result;
}

}  // namespace retort::vision
