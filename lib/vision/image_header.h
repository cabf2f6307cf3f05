#pragma once
// What the first bytes of an image file say, before anything is decoded. Without OpenCV.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace retort::vision {

enum class ImageFormat { Jpeg, Png, Bmp, Webp };

struct ImageHeader {
  ImageFormat format = ImageFormat::Png;
  std::int64_t width = 0;
  std::int64_t height = 0;
  bool gray_alpha = false;  ///< a PNG of gray and alpha, which decoders like to return as colour
};

/// The format by its first bytes and the size by its header; none for other formats and for headers
/// that are cut off or hold no size.
std::optional<ImageHeader> read_image_header(std::span<const std::byte> bytes);

/// False for a file whose end is missing: a JPEG without an end marker after its last scan, a PNG
/// without closing chunk, an uncompressed BMP or a WebP shorter than its header says. Decoders
/// fill what is missing with gray, or complain on stderr.
bool is_complete_image(const ImageHeader& header, std::span<const std::byte> bytes);

}  // namespace retort::vision
