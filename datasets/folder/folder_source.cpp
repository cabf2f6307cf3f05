#include "datasets/folder/folder_source.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "datasets/assemble.h"
#include "datasets/folder/image_files.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets::folder {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kTrainNames = {"train", "training"};
const std::vector<std::string> kTestNames = {"test", "testing", "val", "valid", "validation"};

struct Roots {
  fs::path train;
  fs::path test;  // may be empty
};

fs::path first_folder(const fs::path& root, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    std::error_code ignored;
    if (fs::is_directory(root / name, ignored)) return root / name;
  }
  return {};
}

Roots find_roots(const std::string& dataset, const fs::path& root) {
  if (!fs::is_directory(root)) {
    throw DataError(str("dataset '", dataset, "': '", root.string(), "' is not a folder"));
  }
  Roots roots{first_folder(root, kTrainNames), first_folder(root, kTestNames)};
  if (!roots.train.empty()) return roots;
  if (!roots.test.empty()) {
    throw DataError(str("dataset '", dataset, "': '", root.string(), "' has a folder '",
                        roots.test.filename().string(), "' but no folder 'train'"));
  }
  return {root, {}};
}

struct Found {
  std::vector<std::string> class_names;
  ImageFiles files;
};

void append(ImageFiles& files, const std::vector<fs::path>& paths, std::int64_t label) {
  files.paths.insert(files.paths.end(), paths.begin(), paths.end());
  files.labels.insert(files.labels.end(), paths.size(), label);
}

Found find_training_images(const fs::path& root, std::int64_t& ignored) {
  Found found;
  for (const auto& folder : list_folders(root)) {
    const auto images = list_images(folder, ignored);
    if (images.empty()) {
      throw DataError(str("class '", folder.filename().string(), "': '", folder.string(),
                          "' holds no JPEG, PNG, BMP or WebP file; every class needs one or more"));
    }
    append(found.files, images, std::int64_t(found.class_names.size()));
    found.class_names.push_back(folder.filename().string());
  }
  if (found.class_names.empty()) {
    throw DataError(str("'", root.string(), "': looked for one folder of images per class, or for ",
                        "'train' and 'test' with such folders; found no folder"));
  }
  return found;
}

ImageFiles find_test_images(const fs::path& root, const std::vector<std::string>& class_names,
                            std::int64_t& ignored) {
  ImageFiles files;
  for (const auto& folder : list_folders(root)) {
    const std::string name = folder.filename().string();
    const auto known = std::find(class_names.begin(), class_names.end(), name);
    if (known == class_names.end()) {
      throw DataError(str("'", folder.string(), "': the test split has a class '", name,
                          "' that the training split lacks; its classes are ", join(class_names)));
    }
    append(files, list_images(folder, ignored), known - class_names.begin());
  }
  if (files.paths.empty()) {
    throw DataError(str("'", root.string(), "': the test split holds no image; remove the folder ",
                        "to have one cut from the training images"));
  }
  return files;
}

}  // namespace

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  const fs::path root =
      require_data_path(entry.name, options, "a folder with train/<class>/ and test/<class>/");
  const Roots roots = find_roots(entry.name, root);
  std::int64_t ignored = 0;
  const Found train = find_training_images(roots.train, ignored);
  ImageFiles test;
  if (!roots.test.empty()) test = find_test_images(roots.test, train.class_names, ignored);
  auto splits = load_splits(train.files, test, {.image_size = options.image_size},
                            options.memory_limit_bytes);
  RawDataset raw;
  raw.class_names = train.class_names;
  raw.train = std::move(splits.train);
  if (!test.paths.empty()) {
    raw.test = std::move(splits.test);
    const std::string name = roots.test.filename().string();
    if (name != "test") raw.notes.push_back("the folder '" + name + "' is the test split");
  }
  if (ignored > 0) {
    raw.notes.push_back(str(ignored, " file(s) that are not JPEG, PNG, BMP or WebP passed over"));
  }
  return assemble(entry.name, std::move(raw), options);
}

}  // namespace retort::datasets::folder
