#include "datasets/cifar_bin/cifar_source.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "datasets/assemble.h"
#include "datasets/cifar_bin/cifar_format.h"
#include "datasets/files.h"
#include "datasets/published.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets::cifar_bin {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string>& cifar10_classes() {
  static const std::vector<std::string> names = {
      "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  return names;
}

const std::vector<std::string>& cifar100_classes() {
  static const std::vector<std::string> names = {
      "apple",       "aquarium_fish", "baby",      "bear",       "beaver",       "bed",
      "bee",         "beetle",        "bicycle",   "bottle",     "bowl",         "boy",
      "bridge",      "bus",           "butterfly", "camel",      "can",          "castle",
      "caterpillar", "cattle",        "chair",     "chimpanzee", "clock",        "cloud",
      "cockroach",   "couch",         "crab",      "crocodile",  "cup",          "dinosaur",
      "dolphin",     "elephant",      "flatfish",  "forest",     "fox",          "girl",
      "hamster",     "house",         "kangaroo",  "keyboard",   "lamp",         "lawn_mower",
      "leopard",     "lion",          "lizard",    "lobster",    "man",          "maple_tree",
      "motorcycle",  "mountain",      "mouse",     "mushroom",   "oak_tree",     "orange",
      "orchid",      "otter",         "palm_tree", "pear",       "pickup_truck", "pine_tree",
      "plain",       "plate",         "poppy",     "porcupine",  "possum",       "rabbit",
      "raccoon",     "ray",           "road",      "rocket",     "rose",         "sea",
      "seal",        "shark",         "shrew",     "skunk",      "skyscraper",   "snail",
      "snake",       "spider",        "squirrel",  "streetcar",  "sunflower",    "sweet_pepper",
      "table",       "tank",          "telephone", "television", "tiger",        "tractor",
      "train",       "trout",         "tulip",     "turtle",     "wardrobe",     "whale",
      "willow_tree", "wolf",          "woman",     "worm"};
  return names;
}

// Which files make up a dataset.
struct Files {
  CifarLayout layout = CifarLayout::OneLabel;
  std::vector<fs::path> train;
  fs::path test;  // may be empty
  fs::path names;
};

std::string batch_file(int number) { return str("data_batch_", number, ".bin"); }

Files files_in(const fs::path& folder) {
  Files files;
  for (int number = 1; fs::exists(folder / batch_file(number)); ++number) {
    files.train.push_back(folder / batch_file(number));
  }
  if (files.train.empty()) {
    files.layout = CifarLayout::CoarseAndFine;
    files.train = {folder / "train.bin"};
    files.test = find_file(folder, {"test.bin"});
    files.names = find_file(folder, {"fine_label_names.txt"});
  } else {
    files.test = find_file(folder, {"test_batch.bin"});
    files.names = find_file(folder, {"batches.meta.txt"});
  }
  return files;
}

FolderSearch search_for(const std::string& name) {
  FolderSearch search;
  if (name == "cifar10") {
    search.subfolders = {"cifar-10-batches-bin", "cifar10", "CIFAR10"};
    for (int number = 1; number <= 5; ++number) search.markers.push_back({batch_file(number)});
    search.markers.push_back({"test_batch.bin"});
  } else if (name == "cifar100") {
    search.subfolders = {"cifar-100-binary", "cifar100", "CIFAR100"};
    search.markers = {{"train.bin"}, {"test.bin"}};
  } else {
    search.markers = {{"data_batch_1.bin", "train.bin"}};
  }
  search.foreign = {"cifar-10-batches-py", "cifar-100-python", "data_batch_1"};
  search.foreign_hint = "it holds the version for Python; get the binary version";
  return search;
}

CifarRecords read(const std::vector<fs::path>& paths, CifarLayout layout) {
  CifarRecords records;
  for (const auto& path : paths) append_cifar(read_bytes(path), layout, path.string(), records);
  return records;
}

// Takes the records over: their pixels are freed before statistics are computed.
data::DataSplit to_split(CifarRecords records) {
  const auto count = std::int64_t(records.labels.size());
  Tensor images = at::empty({count, kCifarChannels, kCifarSide, kCifarSide}, at::kByte);
  std::memcpy(images.data_ptr(), records.pixels.data(), records.pixels.size());
  return {std::make_shared<data::MemoryStore>(images), label_tensor(records.labels)};
}

std::vector<std::string> class_names(const std::string& dataset, const Files& files,
                                     const CifarRecords& train) {
  std::vector<std::string> published;
  if (dataset == "cifar10") published = cifar10_classes();
  if (dataset == "cifar100") published = cifar100_classes();
  if (files.names.empty()) {
    return published.empty() ? numbered_classes(train.labels, files.train.front().string())
                             : published;
  }
  auto names = read_lines(files.names);
  if (!published.empty() && names.size() != published.size()) {
    throw DataError(str("'", files.names.string(), "': expected ", published.size(),
                        " class names, found ", names.size()));
  }
  return names;
}

}  // namespace

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  const Files files = files_in(find_folder(entry.name, options, search_for(entry.name)));
  CifarRecords train = read(files.train, files.layout);
  const auto names = class_names(entry.name, files, train);
  const auto classes = std::int64_t(names.size());
  check_labels(train.labels, classes, join_paths(files.train));
  RawDataset raw{.class_names = names,
                 .train = to_split(std::move(train)),
                 .test = std::nullopt,
                 .notes = {},
                 .preprocessing = published_preprocessing(entry.name)};
  if (!files.test.empty()) {
    CifarRecords test = read({files.test}, files.layout);
    check_labels(test.labels, classes, files.test.string());
    raw.test = to_split(std::move(test));
  }
  return assemble(entry.name, std::move(raw), options);
}

}  // namespace retort::datasets::cifar_bin
