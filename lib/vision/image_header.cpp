#include "lib/vision/image_header.h"

#include <cstdlib>
#include <string_view>

namespace retort::vision {
namespace {

// Bounds-checked little- and big-endian reading; past the end everything is 0.
class View {
 public:
  explicit View(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::size_t size() const { return bytes_.size(); }
  std::int64_t byte(std::size_t at) const {
    return at < bytes_.size() ? std::to_integer<std::int64_t>(bytes_[at]) : 0;
  }
  std::int64_t little(std::size_t at, int count) const {
    std::int64_t value = 0;
    for (int i = count - 1; i >= 0; --i) value = value << 8 | byte(at + std::size_t(i));
    return value;
  }
  std::int64_t big(std::size_t at, int count) const {
    std::int64_t value = 0;
    for (int i = 0; i < count; ++i) value = value << 8 | byte(at + std::size_t(i));
    return value;
  }
  bool has(std::size_t at, std::string_view text) const {
    if (at + text.size() > bytes_.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (byte(at + i) != static_cast<unsigned char>(text[i])) return false;
    }
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
};

ImageHeader png_header(const View& v) {
  constexpr std::int64_t kGrayAlpha = 4;
  return {ImageFormat::Png, v.big(16, 4), v.big(20, 4), v.byte(25) == kGrayAlpha};
}

ImageHeader bmp_header(const View& v) {
  if (v.little(14, 4) == 12) return {ImageFormat::Bmp, v.little(18, 2), v.little(20, 2)};
  // A negative height says that the rows run from top to bottom.
  const auto height = std::int32_t(std::uint32_t(v.little(22, 4)));
  return {ImageFormat::Bmp, v.little(18, 4), std::abs(std::int64_t(height))};
}

ImageHeader webp_header(const View& v) {
  ImageHeader header{ImageFormat::Webp, 0, 0};
  if (v.has(12, "VP8X")) {
    header.width = v.little(24, 3) + 1;
    header.height = v.little(27, 3) + 1;
  } else if (v.has(12, "VP8L")) {
    const std::int64_t packed = v.little(21, 4);
    header.width = (packed & 0x3FFF) + 1;
    header.height = (packed >> 14 & 0x3FFF) + 1;
  } else if (v.has(12, "VP8 ")) {
    header.width = v.little(26, 2) & 0x3FFF;
    header.height = v.little(28, 2) & 0x3FFF;
  }
  return header;
}

bool starts_frame(std::int64_t marker) {
  // SOF0 .. SOF15 without DHT (C4), JPG (C8) and DAC (CC).
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

ImageHeader jpeg_header(const View& v) {
  ImageHeader header{ImageFormat::Jpeg, 0, 0};
  std::size_t at = 2;
  while (at + 9 <= v.size() && v.byte(at) == 0xFF) {
    const std::int64_t marker = v.byte(at + 1);
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    if (starts_frame(marker)) {
      header.height = v.big(at + 5, 2);
      header.width = v.big(at + 7, 2);
      break;
    }
    at += 2 + std::size_t(v.big(at + 2, 2));
  }
  return header;
}

bool is_complete_jpeg(std::span<const std::byte> bytes) {
  // Searched from the end: entropy-coded data never holds FF D9 or FF DA, and the scans of an
  // embedded thumbnail come before the image's own.
  for (std::size_t i = bytes.size(); i >= 2; --i) {
    if (bytes[i - 2] != std::byte{0xFF}) continue;
    if (bytes[i - 1] == std::byte{0xD9}) return true;
    if (bytes[i - 1] == std::byte{0xDA}) return false;
  }
  return false;
}

bool is_complete_png(const View& v) {
  constexpr std::size_t kAroundData = 12;  // length, name and checksum of a chunk
  std::size_t at = 8;
  while (at + kAroundData <= v.size()) {
    if (v.has(at + 4, "IEND")) return true;
    at += kAroundData + std::size_t(v.big(at, 4));
  }
  return false;
}

bool is_complete_bmp(const ImageHeader& header, const View& v) {
  if (v.little(14, 4) < 40 || v.little(30, 4) != 0) return true;  // compressed: the decoder decides
  const std::int64_t row_bytes = (header.width * v.little(28, 2) + 31) / 32 * 4;
  return v.little(10, 4) + row_bytes * header.height <= std::int64_t(v.size());
}

std::optional<ImageHeader> header_of_known_format(const View& v) {
  if (v.has(0, "\x89PNG\r\n\x1a\n")) return png_header(v);
  if (v.has(0, "\xFF\xD8\xFF")) return jpeg_header(v);
  if (v.has(0, "BM")) return bmp_header(v);
  if (v.has(0, "RIFF") && v.has(8, "WEBP")) return webp_header(v);
  return std::nullopt;
}

}  // namespace

std::optional<ImageHeader> read_image_header(std::span<const std::byte> bytes) {
  auto header = header_of_known_format(View(bytes));
  if (header && (header->width <= 0 || header->height <= 0)) return std::nullopt;
  return header;
}

bool is_complete_image(const ImageHeader& header, std::span<const std::byte> bytes) {
  switch (header.format) {
    case ImageFormat::Jpeg:
      return is_complete_jpeg(bytes);
    case ImageFormat::Png:
      return is_complete_png(View(bytes));
    case ImageFormat::Bmp:
      return is_complete_bmp(header, View(bytes));
    case ImageFormat::Webp:
      return View(bytes).little(4, 4) + 8 <= std::int64_t(bytes.size());
  }
  return false;
}

}  // namespace retort::vision
