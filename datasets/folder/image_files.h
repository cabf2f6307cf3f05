#pragma once
// Labelled image files and the stores made of them.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "lib/data/image_dataset.h"

namespace retort::datasets {

struct ImageFiles {
  std::vector<std::filesystem::path> paths;
  std::vector<std::int64_t> labels;
};

/// All JPEG, PNG, BMP and WebP files (by extension) in a folder and the folders below it, sorted by
/// path. Hidden files are passed over; other files are counted in `ignored`.
/// @throws DataError for entries that cannot be read and for links that form a loop
std::vector<std::filesystem::path> list_images(const std::filesystem::path& folder,
                                               std::int64_t& ignored);

/// Subfolders that are not hidden, sorted by name. @throws DataError if the folder cannot be read
std::vector<std::filesystem::path> list_folders(const std::filesystem::path& folder);

struct DecodeRules {
  std::int64_t image_size = 0;  ///< resize and centre crop to this side; 0: as stored
  bool gray_to_rgb = false;     ///< gray images become colour images
};

/// One image under the rules: uint8 [C,H,W]. @throws DataError
Tensor load_image(const std::filesystem::path& path, const DecodeRules& rules);

/// Images read from their files each time they are asked for.
class FileStore : public data::ImageStore {
 public:
  /// @param shape of every image; another one found later is a DataError that names the file
  /// @param reference the file that has this shape, for the message
  FileStore(std::vector<std::filesystem::path> paths, DecodeRules rules, data::ImageShape shape,
            std::filesystem::path reference);
  std::int64_t size() const override { return std::int64_t(paths_.size()); }
  data::ImageShape shape() const override { return shape_; }
  Tensor pixels(const Tensor& indices) const override;

 private:
  std::vector<std::filesystem::path> paths_;
  DecodeRules rules_;
  data::ImageShape shape_;
  std::filesystem::path reference_;
};

/// Splits of image files; in memory unless together they exceed the limit when decoded, which is
/// logged then. It is no property of the dataset: pixels are the same.
struct ImageSplits {
  data::DataSplit train;
  data::DataSplit test;  ///< without images if there were no test files
};
/// @throws DataError as load_image, and for images that differ in size or channels
ImageSplits load_splits(const ImageFiles& train, const ImageFiles& test, const DecodeRules& rules,
                        std::int64_t memory_limit_bytes);

}  // namespace retort::datasets
