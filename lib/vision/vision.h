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

/// Decodes JPEG, PNG, BMP or WebP. Colour stays RGB, gray stays one channel; alpha is dropped, 16
/// bits are rounded to 8, orientation tags are ignored. May be called from several threads.
/// @return uint8 [C,H,W]  @throws DataError naming `source` for empty, truncated, unreadable or
///         foreign bytes and for claims of more than 2^27 pixels
Tensor decode_image(std::span<const std::byte> bytes, const std::string& source);
/// The same from a file. @throws DataError naming the path, also if it cannot be opened
Tensor read_image(const std::filesystem::path& path);

/// Shorter side to `side` (area interpolation when shrinking, bilinear when growing), then the
/// centre `side` x `side`.  @param image uint8 [C,H,W], C 1 or 3  @throws ConfigError
Tensor resize_and_crop(const Tensor& image, std::int64_t side);

/// @param image uint8 [C,H,W], C 1 or 3. Format by extension (.png, .jpg, .jpeg, .bmp).
/// @throws ConfigError for another extension or shape, StorageError if it cannot be written
void write_image(const std::filesystem::path& path, const Tensor& image);
std::vector<std::byte> encode_png(const Tensor& image);
/// A JPEG file, colours at half the resolution (4:2:0).  @param quality 1 .. 100
std::vector<std::byte> encode_jpeg(const Tensor& image, int quality);
/// What is read back of images that were written as JPEG files.
/// @param images uint8 [N,C,H,W], C 1 or 3  @return the same shape
Tensor through_jpeg(const Tensor& images, int quality);

struct GridRow {
  std::string label;  ///< written to the left; may be empty
  Tensor images;      ///< uint8 [n,C,H,W]
};

struct GridOptions {
  std::int64_t cell = 0;  ///< pixels of the longer image side; 0: enlarge small images to about 64
  std::string title{};
  std::vector<std::string> column_groups{};  ///< names above equal groups of columns; set apart
};

/// Rows of images on white, labels (as ascii_text leaves them) in black to their left, title on
/// top; enlarged by nearest neighbour. Rows may differ in length, not in image shape.
/// @return uint8 [3,H,W]  @throws ConfigError for rows of another shape or groups of unequal size
Tensor image_grid(const std::vector<GridRow>& rows, const GridOptions& options = {});

/// The other way around, of a grid that was drawn with the default options: the first image of
/// every row, at its own size.
/// @param picture uint8 [3,H,W]  @param columns of the longest row  @param height, width of images
/// @return uint8 [rows,3,height,width]; nothing if such a grid has another size than the picture
std::optional<Tensor> first_images_of_grid(const Tensor& picture, std::int64_t rows,
                                           std::int64_t columns, std::int64_t height,
                                           std::int64_t width);

}  // namespace retort::vision
