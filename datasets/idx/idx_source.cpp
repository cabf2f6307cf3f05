#include "datasets/idx/idx_source.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/assemble.h"
#include "datasets/files.h"
#include "datasets/idx/idx_format.h"
#include "datasets/published.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets::idx {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> names;
  for (const char c : text) names.emplace_back(1, c);
  return names;
}

// What a known dataset has beyond its files.
struct Known {
  std::string file_prefix;  // before "train-images-idx3-ubyte"
  std::vector<std::string> subfolders;
  std::vector<std::string> class_names;  // empty: numbered by the labels
  std::int64_t first_label = 0;
  bool transposed = false;  // rows and columns are swapped in the file
  bool mirror_changes_class = false;
  fs::path system_folder;
  std::string package;
};

constexpr char kDigits[] = "0123456789";
constexpr char kUpper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr char kLower[] = "abcdefghijklmnopqrstuvwxyz";
// The merged splits keep the lower-case letters whose shape differs from the capital's.
constexpr char kMergedLower[] = "abdefghnqrt";

Known known_emnist(const std::string& split) {
  Known known;
  known.file_prefix = "emnist-" + split + "-";
  known.subfolders = {"EMNIST/raw", "EMNIST", "emnist", "gzip"};
  known.transposed = true;
  known.mirror_changes_class = true;
  if (split == "letters") {
    known.class_names = characters(kUpper);
    known.first_label = 1;
  } else if (split == "digits" || split == "mnist") {
    known.class_names = characters(kDigits);
  } else {
    const bool merged = split != "byclass";
    known.class_names = characters(str(kDigits, kUpper, merged ? kMergedLower : kLower));
  }
  return known;
}

Known known_dataset(const std::string& name) {
  if (name.rfind("emnist-", 0) == 0) return known_emnist(name.substr(std::strlen("emnist-")));
  Known known;
  if (name == "mnist") {
    known.subfolders = {"MNIST/raw", "MNIST", "mnist"};
    known.class_names = characters(kDigits);
    known.mirror_changes_class = true;
  } else if (name == "fashion-mnist") {
    known.subfolders = {"FashionMNIST/raw", "FashionMNIST", "fashion-mnist"};
    known.class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                         "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
    known.system_folder = "/usr/share/datasets/fashion-mnist";
    known.package = "dataset-fashion-mnist";
  }
  return known;
}

// The names under which one of the four files is known, the official one first.
std::vector<std::string> spellings(const std::string& prefix, const std::string& split,
                                   const std::string& what, const std::string& rank) {
  std::vector<std::string> names;
  for (const char* separator : {"-", "."}) {
    for (const char* packed : {"", ".gz"}) {
      names.push_back(str(prefix, split, "-", what, separator, "idx", rank, "-ubyte", packed));
    }
  }
  return names;
}

std::vector<std::string> image_files(const std::string& prefix, const std::string& split) {
  auto names = spellings(prefix, split, "images", "3");
  const auto colour = spellings(prefix, split, "images", "4");
  names.insert(names.end(), colour.begin(), colour.end());
  return names;
}

std::vector<std::string> label_files(const std::string& prefix, const std::string& split) {
  return spellings(prefix, split, "labels", "1");
}

// uint8 [N,C,H,W] from rank 3 [N,H,W] or rank 4 with the channels before or after the sides.
Tensor image_tensor(const IdxArray& array, const std::string& name) {
  const auto rank = array.dims.size();
  if (array.type != 0x08 || (rank != 3 && rank != 4)) {
    throw DataError(str("'", name, "': expected unsigned bytes of rank 3 or 4 for images, found ",
                        "type code ", int(array.type), " and rank ", rank));
  }
  Tensor values = at::empty(array.dims, at::kByte);
  std::memcpy(values.data_ptr(), array.values.data(), array.values.size());
  if (rank == 3) return values.unsqueeze(1);
  if (is_channel_count(array.dims[1])) return values;
  if (is_channel_count(array.dims[3])) return values.permute({0, 3, 1, 2}).contiguous();
  throw DataError(str("'", name, "': expected 1 or 3 channels in dimension 1 or 3, found ",
                      join(array.dims, "x")));
}

struct SplitFiles {
  fs::path images;
  fs::path labels;
};

struct ReadSplit {
  Tensor images;
  std::vector<std::int64_t> labels;
};

ReadSplit read_split(const SplitFiles& files, const Known& known) {
  ReadSplit split;
  split.images = image_tensor(decode_idx(read_bytes(files.images), files.images.string()),
                              files.images.string());
  if (known.transposed) split.images = split.images.transpose(2, 3).contiguous();
  const std::string labels_name = files.labels.string();
  split.labels = idx_labels(decode_idx(read_bytes(files.labels), labels_name), labels_name);
  if (split.images.size(0) != std::int64_t(split.labels.size())) {
    throw DataError(str("'", files.images.string(), "' holds ", split.images.size(0), " images, '",
                        labels_name, "' ", split.labels.size(), " labels; the numbers must agree"));
  }
  for (auto& label : split.labels) label -= known.first_label;
  if (!known.class_names.empty()) {
    check_labels(split.labels, std::int64_t(known.class_names.size()), labels_name);
  }
  return split;
}

data::DataSplit to_split(const ReadSplit& read) {
  return {std::make_shared<data::MemoryStore>(read.images), label_tensor(read.labels)};
}

std::optional<SplitFiles> find_test_files(const fs::path& folder, const std::string& prefix) {
  for (const char* split : {"t10k", "test"}) {
    SplitFiles files{find_file(folder, image_files(prefix, split)),
                     find_file(folder, label_files(prefix, split))};
    if (files.images.empty() != files.labels.empty()) {
      throw DataError(str("'", folder.string(), "': found ",
                          (files.images.empty() ? files.labels : files.images).filename().string(),
                          " but not its ", files.images.empty() ? "images" : "labels"));
    }
    if (!files.images.empty()) return files;
  }
  return std::nullopt;
}

std::vector<std::string> generic_class_names(const fs::path& folder, const ReadSplit& train,
                                             const std::string& labels_name) {
  const fs::path list = find_file(folder, {"classes.txt"});
  return list.empty() ? numbered_classes(train.labels, labels_name) : read_lines(list);
}

}  // namespace

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  Known known = known_dataset(entry.name);
  const bool generic = entry.name == "idx";
  FolderSearch search{
      .subfolders = known.subfolders,
      .markers = {image_files(known.file_prefix, "train"), label_files(known.file_prefix, "train")},
      .system_folder = known.system_folder,
      .package = known.package};
  const fs::path folder = find_folder(entry.name, options, search);
  const SplitFiles train_files{find_file(folder, search.markers[0]),
                               find_file(folder, search.markers[1])};
  const auto test_files = find_test_files(folder, known.file_prefix);
  if (!generic && !test_files) {
    throw DataError(str("dataset '", entry.name, "': '", folder.string(), "' has no test split; ",
                        "looked for ", join(image_files(known.file_prefix, "t10k"), " or "),
                        " and the same with 'test'"));
  }
  const ReadSplit train = read_split(train_files, known);
  if (generic) {
    known.class_names = generic_class_names(folder, train, train_files.labels.string());
    check_labels(train.labels, std::int64_t(known.class_names.size()), train_files.labels.string());
  }
  RawDataset raw{.class_names = known.class_names,
                 .train = to_split(train),
                 .test = std::nullopt,
                 .notes = {},
                 .preprocessing = published_preprocessing(entry.name),
                 .mirror_changes_class = known.mirror_changes_class};
  if (test_files) raw.test = to_split(read_split(*test_files, known));
  if (known.transposed)
    raw.notes.emplace_back("images are stored transposed and were turned upright");
  return assemble(entry.name, std::move(raw), options);
}

}  // namespace retort::datasets::idx
