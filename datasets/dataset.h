#pragma once
// Known datasets by name, and generic sources by layout.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/data/image_dataset.h"

namespace retort::datasets {

/// How to open a dataset; what a source does not use it ignores.
struct OpenOptions {
  std::filesystem::path data_path{};  ///< empty: the source's own default places
  std::int64_t image_size = 0;        ///< folders: resize + centre crop to this side; 0: as stored
  double test_fraction = 0.2;         ///< used when a source has no test split
  std::uint64_t split_seed = 0;       ///< of that split
  std::int64_t memory_limit_bytes = std::int64_t(2) << 30;  ///< decoded size above which image
                                                            ///< files are read as needed
  bool zca = false;                   ///< ZCA whitening instead of mean and std
  std::filesystem::path cache_dir{};  ///< computed statistics by dataset hash; empty: no cache
};

struct DatasetEntry {
  std::string name;
  std::vector<std::string> aliases;
  std::string description;  ///< one line: size, classes, layout, where it is looked for
  data::ImageDataset (*open)(const DatasetEntry& entry, const OpenOptions& options);
};

/// THE list of datasets (datasets/registry.cpp).
const std::vector<DatasetEntry>& all_datasets();

/// The entry with this name or alias; case, hyphens and underscores do not matter.
/// @throws ConfigError for unknown names
const DatasetEntry& find_dataset(const std::string& name);

/// @throws ConfigError for unknown names, DataError for bad files
data::ImageDataset open_dataset(const std::string& name, const OpenOptions& options);

}  // namespace retort::datasets
