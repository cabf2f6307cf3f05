#include "datasets/tiny_imagenet/tiny_imagenet.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "datasets/assemble.h"
#include "datasets/files.h"
#include "datasets/folder/image_files.h"
#include "datasets/published.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets::tiny_imagenet {
namespace {

namespace fs = std::filesystem;

using ClassIndex = std::map<std::string, std::int64_t>;  // WordNet id -> label, in id order

ClassIndex read_ids(const fs::path& root) {
  ClassIndex index;
  for (const auto& id : read_lines(root / "wnids.txt")) index[id] = 0;
  std::int64_t next = 0;
  for (auto& [id, label] : index) label = next++;
  return index;
}

// The first of the comma-separated words, made unique by the id where two classes share it.
std::vector<std::string> class_names(const fs::path& root, const ClassIndex& index) {
  std::map<std::string, std::string> words;
  const fs::path list = find_file(root, {"words.txt"});
  if (!list.empty()) {
    for (const auto& line : read_lines(list)) {
      const auto tab = line.find('\t');
      if (tab == std::string::npos) continue;
      words[line.substr(0, tab)] = line.substr(tab + 1, line.find(',', tab) - tab - 1);
    }
  }
  std::map<std::string, int> uses;
  for (const auto& [id, label] : index) ++uses[words[id]];
  std::vector<std::string> names;
  for (const auto& [id, label] : index) {
    const std::string& word = words[id];
    if (word.empty()) {
      names.push_back(id);
    } else {
      names.push_back(uses[word] > 1 ? str(word, " (", id, ")") : word);
    }
  }
  return names;
}

ImageFiles find_by_class(const fs::path& split, const ClassIndex& index) {
  ImageFiles files;
  for (const auto& [id, label] : index) {
    std::int64_t ignored = 0;  // boxes
    const auto images = list_images(split / id, ignored);
    if (images.empty()) {
      throw DataError(str("class '", id, "': '", (split / id).string(), "' holds no image"));
    }
    files.paths.insert(files.paths.end(), images.begin(), images.end());
    files.labels.insert(files.labels.end(), images.size(), label);
  }
  return files;
}

ImageFiles find_annotated(const fs::path& split, const ClassIndex& index) {
  const fs::path list = split / "val_annotations.txt";
  ImageFiles files;
  for (const auto& line : read_lines(list)) {
    std::istringstream words(line);
    std::string file;
    std::string id;
    words >> file >> id;
    const auto known = index.find(id);
    if (known == index.end()) {
      throw DataError(str("'", list.string(), "', entry ", files.paths.size() + 1, ": '", id,
                          "' is not a class of wnids.txt"));
    }
    files.paths.push_back(split / "images" / file);
    files.labels.push_back(known->second);
  }
  if (files.paths.empty()) throw DataError(str("'", list.string(), "': holds no entry"));
  return files;
}

}  // namespace

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  const fs::path root = find_folder(entry.name, options,
                                    {.subfolders = {"tiny-imagenet-200", "tiny-imagenet"},
                                     .markers = {{"wnids.txt"}, {"train"}, {"val"}}});
  const ClassIndex index = read_ids(root);
  if (index.empty()) throw DataError(str("'", (root / "wnids.txt").string(), "': lists no class"));
  const ImageFiles train = find_by_class(root / "train", index);
  const bool annotated = !find_file(root / "val", {"val_annotations.txt"}).empty();
  const ImageFiles test =
      annotated ? find_annotated(root / "val", index) : find_by_class(root / "val", index);
  auto splits = load_splits(train, test, {.image_size = options.image_size, .gray_to_rgb = true},
                            options.memory_limit_bytes);
  RawDataset raw{.class_names = class_names(root, index),
                 .train = std::move(splits.train),
                 .test = std::move(splits.test),
                 .notes = {"the published validation split is the test split"},
                 .preprocessing = published_preprocessing(entry.name)};
  return assemble(entry.name, std::move(raw), options);
}

}  // namespace retort::datasets::tiny_imagenet
