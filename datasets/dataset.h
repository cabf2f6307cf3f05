#pragma once
// Known datasets by name, and generic sources by layout.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/error.h"
#include "lib/data/image_dataset.h"

namespace retort::datasets {

/// How to open a dataset; what a source does not use it ignores.
struct OpenOptions {
  std::filesystem::path data_path{};  ///< empty: the source's own default places
  /// Image files only: resize and crop the centre to this side; 0: as stored.
  std::int64_t image_size = 0;
  double test_fraction = 0.2;    ///< used when a source has no test split
  std::uint64_t split_seed = 0;  ///< of that split
  std::int64_t memory_limit_bytes = std::int64_t(2) << 30;  ///< decoded size above which image
                                                            ///< files are read as needed
  std::optional<bool> mirror_changes_class{};  ///< none: what the source knows of itself
  bool zca = false;                            ///< ZCA whitening instead of mean and std
  bool fit = true;  ///< false: no statistics, the identity; for callers with their own
  std::filesystem::path cache_dir{};  ///< computed statistics by dataset hash; empty: no cache
};

/// Where a source looked there are no files of the kind it reads; files that are there but bad are
/// a plain DataError.
class FilesNotFound : public DataError {
 public:
  using DataError::DataError;
};

/// Of a published dataset, known without its files.
struct KnownSize {
  data::ImageShape shape;
  std::int64_t classes = 0;
  std::int64_t training_images = 0;
};

struct DatasetEntry {
  std::string name;
  std::vector<std::string> aliases;
  std::string description;  ///< one line: size, classes, layout, where it is looked for
  data::ImageDataset (*open)(const DatasetEntry& entry, const OpenOptions& options);
  std::optional<KnownSize> size{};  ///< none for layouts and for datasets whose classes differ
};

/// THE list of datasets (datasets/registry.cpp).
const std::vector<DatasetEntry>& all_datasets();

/// The entry with this name or alias; case, hyphens and underscores do not matter.
/// @throws ConfigError for unknown names
const DatasetEntry& find_dataset(const std::string& name);

/// @throws ConfigError for unknown names, DataError for bad files
data::ImageDataset open_dataset(const std::string& name, const OpenOptions& options);

}  // namespace retort::datasets
