#pragma once
// The only place that sees OpenCV: decoding, resizing, encoding, grids.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::vision {

/// Decodes JPEG, PNG, BMP or WebP. Colour stays RGB, gray stays one channel; alpha is dropped.
/// @return uint8 [C,H,W]  @throws DataError naming `source` for empty or unreadable bytes
Tensor decode_image(std::span<const std::byte> bytes, const std::string& source);
Tensor read_image(const std::filesystem::path& path);

/// Shorter side to `side` (area interpolation when shrinking, bilinear when growing), then the
/// centre `side` x `side`.  @param image uint8 [C,H,W]
Tensor resize_and_crop(const Tensor& image, std::int64_t side);

/// @param image uint8 [C,H,W], C 1 or 3. Format by extension (.png, .jpg, .bmp).
void write_image(const std::filesystem::path& path, const Tensor& image);
std::vector<std::byte> encode_png(const Tensor& image);

struct GridRow {
  std::string label;  ///< written to the left; may be empty
  Tensor images;      ///< uint8 [n,C,H,W]
};

struct GridOptions {
  std::int64_t cell = 0;        ///< pixels per image side; 0: enlarge small images to about 64
  std::string title;
  std::vector<std::string> column_groups;
};

/// Rows of images on white, labels in black; enlarged by nearest neighbour.
/// @return uint8 [3,H,W]
Tensor image_grid(const std::vector<GridRow>& rows, const GridOptions& options = {});

}  // namespace retort::vision
