#include "datasets/hdf5/hdf5_source.h"

#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "datasets/assemble.h"
#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"

namespace retort::datasets::hdf5 {
namespace {

struct Paths {
  std::string images;
  std::string labels;
};

struct ReadSplit {
  Tensor images;
  std::vector<std::int64_t> labels;
};

[[noreturn]] void refuse(const storage::H5Reader& file, const std::string& finding) {
  throw DataError("'" + file.path().string() + "': " + finding);
}

std::optional<Paths> find_split(const storage::H5Reader& file, const std::vector<Paths>& choices) {
  for (const auto& paths : choices) {
    if (!file.has(paths.images)) continue;
    if (!file.has(paths.labels)) {
      refuse(file, "has '" + paths.images + "' but no '" + paths.labels + "'");
    }
    return paths;
  }
  return std::nullopt;
}

std::string layout_attribute(const storage::H5Reader& file, const std::string& images) {
  for (const std::string& place : {images, std::string()}) {
    if (!file.has_attribute(place, "layout")) continue;
    std::string layout = file.text_attribute(place, "layout");
    if (layout == "NHWC" || layout == "NCHW") return layout;
    refuse(file, "attribute layout: expected NHWC or NCHW, found '" + layout + "'");
  }
  return {};
}

// Rank 4 images to [N,C,H,W].
Tensor channels_first(const storage::H5Reader& file, const std::string& path,
                      const Tensor& images) {
  const bool first = is_channel_count(images.size(1));
  const bool last = is_channel_count(images.size(3));
  std::string layout = layout_attribute(file, path);
  if (layout.empty() && first != last) layout = first ? "NCHW" : "NHWC";
  if (layout == "NCHW" && first) return images;
  if (layout == "NHWC" && last) return images.permute({0, 3, 1, 2}).contiguous();
  if (layout.empty() && first) {
    refuse(file, str("'", path, "': the shape ", shape_text(images),
                     " can be read as NCHW and as NHWC; set the attribute layout"));
  }
  refuse(file, str("'", path, "': expected 1 or 3 channels", layout.empty() ? "" : " as in ",
                   layout, ", found shape ", shape_text(images)));
}

Tensor read_images(const storage::H5Reader& file, const std::string& path) {
  const auto rank = file.dataset_shape(path).size();
  if (rank != 3 && rank != 4) {
    refuse(file, str("'", path, "': expected images of rank 3 or 4, found rank ", rank));
  }
  const Tensor images = file.tensor(path);
  if (images.scalar_type() != at::kByte) {
    refuse(file, retort::str("'", path, "': expected uint8 images, found ", images.scalar_type()));
  }
  return rank == 3 ? images.unsqueeze(1) : channels_first(file, path, images);
}

std::vector<std::int64_t> read_labels(const storage::H5Reader& file, const std::string& path) {
  Tensor labels = file.tensor(path);
  if (labels.dim() == 2 && labels.size(1) == 1) labels = labels.squeeze(1);
  if (labels.dim() != 1 || !at::isIntegralType(labels.scalar_type(), /*includeBool=*/false)) {
    refuse(file, retort::str("'", path, "': expected integer labels [N], found ",
                             labels.scalar_type(), " ", shape_text(labels)));
  }
  labels = labels.to(at::kLong).contiguous();
  const auto* values = labels.const_data_ptr<std::int64_t>();
  return {values, values + labels.numel()};
}

ReadSplit read_split(const storage::H5Reader& file, const Paths& paths) {
  ReadSplit split{read_images(file, paths.images), read_labels(file, paths.labels)};
  if (split.images.size(0) != std::int64_t(split.labels.size())) {
    refuse(file, str("'", paths.images, "' holds ", split.images.size(0), " images, '",
                     paths.labels, "' ", split.labels.size(), " labels; the numbers must agree"));
  }
  return split;
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream in(text);
  for (std::string name; std::getline(in, name, ',');) {
    const auto first = name.find_first_not_of(' ');
    if (first == std::string::npos) continue;
    names.push_back(name.substr(first, name.find_last_not_of(' ') - first + 1));
  }
  return names;
}

std::vector<std::string> class_names(const storage::H5Reader& file, const ReadSplit& train,
                                     const std::string& labels_name) {
  if (file.has("class_names")) return file.texts("class_names");
  if (file.has_attribute("", "class_names")) {
    return split_at_commas(file.text_attribute("", "class_names"));
  }
  return numbered_classes(train.labels, labels_name);
}

bool mirror_changes_class(const storage::H5Reader& file) {
  constexpr const char* kName = "mirror_changes_class";
  if (!file.has_attribute("", kName)) return false;
  const std::string answer = file.text_attribute("", kName);
  if (answer != "yes" && answer != "no") {
    refuse(file, str("attribute ", kName, ": expected yes or no, found '", answer, "'"));
  }
  return answer == "yes";
}

data::DataSplit to_split(const ReadSplit& read) {
  return {std::make_shared<data::MemoryStore>(read.images), label_tensor(read.labels)};
}

RawDataset read_file(const std::filesystem::path& path) {
  const storage::H5Reader file(path);
  const auto train_paths = find_split(
      file,
      {{"train/images", "train/labels"}, {"train_images", "train_labels"}, {"images", "labels"}});
  if (!train_paths) {
    refuse(file,
           "looked for train/images, train_images or images; found " + join(file.children("")));
  }
  const ReadSplit train = read_split(file, *train_paths);
  const std::string labels_name = path.string() + "', '" + train_paths->labels;
  RawDataset raw;
  raw.class_names = class_names(file, train, labels_name);
  check_labels(train.labels, std::int64_t(raw.class_names.size()), labels_name);
  raw.mirror_changes_class = mirror_changes_class(file);
  raw.train = to_split(train);
  const auto test_paths =
      find_split(file, {{"test/images", "test/labels"}, {"test_images", "test_labels"}});
  if (test_paths) {
    const ReadSplit test = read_split(file, *test_paths);
    check_labels(test.labels, std::int64_t(raw.class_names.size()),
                 path.string() + "', '" + test_paths->labels);
    raw.test = to_split(test);
  }
  return raw;
}

// What is wrong with somebody else's file is an error of the data, not of our storage.
RawDataset read_foreign_file(const std::filesystem::path& path) {
  try {
    return read_file(path);
  } catch (const StorageError& e) {
    throw DataError(e.what());
  }
}

}  // namespace

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  const auto path = require_data_path(entry.name, options, "an HDF5 file with images and labels");
  if (std::filesystem::is_directory(path)) {
    throw DataError(str("dataset '", entry.name, "': '", path.string(),
                        "' is a folder; expected an HDF5 file"));
  }
  return assemble(entry.name, read_foreign_file(path), options);
}

}  // namespace retort::datasets::hdf5
