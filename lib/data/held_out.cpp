#include "lib/data/held_out.h"

#include <cstdlib>

#include "lib/core/hash.h"
#include "lib/core/str.h"

namespace retort::data {
namespace {

constexpr char kBegin[] = "test split is ";
constexpr char kMiddle[] = " % held out of the training split";
constexpr std::size_t kDigits = 8;  // of the digest

}  // namespace

std::string held_out_note(double fraction, const Tensor& images) {
  // The same part of every class may be other images.
  const Tensor rows = images.contiguous();
  const std::string_view bytes(static_cast<const char*>(rows.const_data_ptr()), rows.nbytes());
  return str(kBegin, 100 * fraction, kMiddle, " (", sha256_hex(bytes).substr(0, kDigits), ")");
}

std::optional<HeldOut> held_out_of(const std::string& note) {
  const std::size_t middle = note.find(kMiddle);
  if (middle == std::string::npos) return std::nullopt;
  const std::size_t begin = note.rfind(kBegin, middle);
  if (begin == std::string::npos) return std::nullopt;
  const std::string text = note.substr(begin, note.find(';', begin) - begin);
  const double percent = std::strtod(text.c_str() + sizeof(kBegin) - 1, nullptr);
  return HeldOut{text, percent / 100};
}

}  // namespace retort::data
