#pragma once
// The steps every source shares: find the folder, make a missing test split, hash, preprocess.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "lib/data/image_dataset.h"

namespace retort::datasets {

/// What a source found, before splitting, hashing and preprocessing.
struct RawDataset {
  std::vector<std::string> class_names;
  data::DataSplit train;
  std::optional<data::DataSplit> test;               ///< none: cut from train, seeded
  std::vector<std::string> notes;                    ///< for DatasetInfo::note
  std::optional<data::Preprocessing> preprocessing;  ///< published constants; none: computed
  bool mirror_changes_class = false;                 ///< see DatasetInfo; options may overrule
};

/// Makes the dataset. Statistics that have to be computed (mean and std, ZCA) are kept in
/// `options.cache_dir`, keyed by the dataset's SHA-256.
data::ImageDataset assemble(const std::string& name, RawDataset raw, const OpenOptions& options);

/// Where to look for a source's files.
struct FolderSearch {
  std::vector<std::string> subfolders{};  ///< tried below the data path, after the path itself
  std::vector<std::vector<std::string>> markers{};  ///< any file or folder of each must be there
  std::filesystem::path system_folder{};  ///< used when no data path is given; may be empty
  std::string package{};                  ///< Debian package that fills it; may be empty
  std::vector<std::string> foreign{};     ///< files or folders that show a version we do not read
  std::string foreign_hint{};             ///< what to say then
};

/// @throws ConfigError if no data path is given and there is no system folder,
///         FilesNotFound listing where and what was looked for
std::filesystem::path find_folder(const std::string& name, const OpenOptions& options,
                                  const FolderSearch& search);

/// The data path itself. @throws ConfigError if empty, FilesNotFound if it does not exist
std::filesystem::path require_data_path(const std::string& name, const OpenOptions& options,
                                        const std::string& expected);

/// @throws DataError naming `source`, the image and the label unless all lie in 0 .. classes-1
void check_labels(const std::vector<std::int64_t>& labels, std::int64_t classes,
                  const std::string& source);

/// "a/train.bin" or "a/first.bin .. last.bin", for messages about several files read as one
std::string join_paths(const std::vector<std::filesystem::path>& paths);

/// Gray or colour: the numbers of channels that an unnamed dimension is taken for channels by.
bool is_channel_count(std::int64_t count);

/// int64 [N]
Tensor label_tensor(const std::vector<std::int64_t>& labels);

/// "0", "1", ... for sources without class names: one more than the largest label.
/// @throws DataError naming `source` for a negative label or more than 65536 classes
std::vector<std::string> numbered_classes(const std::vector<std::int64_t>& labels,
                                          const std::string& source);

}  // namespace retort::datasets
