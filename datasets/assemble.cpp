#include "datasets/assemble.h"

#include <algorithm>
#include <utility>

#include "datasets/statistics_cache.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::datasets {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostClasses = 65536;
// The matrices of 3x64x64 images take 2.4 GB and minutes; beyond that ZCA is not practical.
constexpr std::int64_t kLargestZca = std::int64_t(3) * 64 * 64;

data::DataSplit rows_of(const data::DataSplit& split, const Tensor& rows) {
  return {std::make_shared<data::SubsetStore>(split.images, rows),
          split.labels.index_select(0, rows)};
}

void check_options(const OpenOptions& options) {
  if (!(options.test_fraction > 0 && options.test_fraction < 1)) {
    throw ConfigError(
        str("test fraction: expected a value between 0 and 1, found ", options.test_fraction));
  }
  if (options.image_size < 0) {
    throw ConfigError(str("image size: expected 0 or a positive side, found ", options.image_size));
  }
}

/// Sources of image files have resized by now; the others read images as they are.
void check_image_size(const std::string& name, const data::ImageShape& shape, std::int64_t side) {
  if (side == 0 || (shape.height == side && shape.width == side)) return;
  throw ConfigError(str("image size ", side, ": only folders of image files are resized; the ",
                        "images of dataset '", name, "' are ", shape.height, "x", shape.width));
}

void make_test_split(const std::string& name, RawDataset& raw, const OpenOptions& options) {
  const auto cut = with_context("dataset '" + name + "', making a test split", [&] {
    return data::stratified_cut(raw.train.labels, raw.class_names, options.test_fraction,
                                Rng(options.split_seed).child("test-split"));
  });
  raw.test = rows_of(raw.train, cut.held);
  raw.train = rows_of(raw.train, cut.kept);
  raw.notes.push_back(str("no test split found: ", 100 * options.test_fraction,
                          " % of every class set aside as test split, seed ", options.split_seed));
}

data::Preprocessing choose_preprocessing(const data::ImageDataset& dataset, const RawDataset& raw,
                                         const OpenOptions& options) {
  if (!options.fit) return dataset.preprocessing();
  const data::ImageStore& train = *raw.train.images;
  const StatisticsCache cache(options.cache_dir, dataset.info().sha256, dataset.shape());
  if (options.zca) {
    if (train.shape().numel() > kLargestZca) {
      throw ConfigError(str("dataset '", dataset.info().name, "': ZCA whitening needs a matrix of ",
                            train.shape().numel(), " x ", train.shape().numel(),
                            " values; the largest supported is ", kLargestZca,
                            " (3x64x64 images); leave --zca away"));
    }
    constexpr double kEps = 0.1;
    return cache.zca(kEps, [&] { return data::fit_zca(train, kEps); });
  }
  if (raw.preprocessing) return *raw.preprocessing;
  return cache.mean_std([&] { return data::compute_mean_std(train); });
}

bool has_markers(const fs::path& folder, const std::vector<std::vector<std::string>>& markers) {
  return std::all_of(markers.begin(), markers.end(), [&](const auto& any) {
    return std::any_of(any.begin(), any.end(), [&](const std::string& file) {
      std::error_code ignored;
      return fs::exists(folder / file, ignored);
    });
  });
}

std::string describe(const FolderSearch& search) {
  std::vector<std::string> parts;
  for (const auto& any : search.markers) parts.push_back(join(any, " or "));
  return join(parts, ", ");
}

std::string foreign_hint(const std::vector<fs::path>& places, const FolderSearch& search) {
  for (const auto& place : places) {
    for (const auto& name : search.foreign) {
      std::error_code ignored;
      if (!fs::exists(place / name, ignored)) continue;
      return "; found '" + (place / name).string() + "': " + search.foreign_hint;
    }
  }
  return {};
}

}  // namespace

data::ImageDataset assemble(const std::string& name, RawDataset raw, const OpenOptions& options) {
  check_options(options);
  check_image_size(name, raw.train.images->shape(), options.image_size);
  if (!raw.test) make_test_split(name, raw, options);
  data::DatasetInfo info{
      .name = name,
      .class_names = raw.class_names,
      .sha256 = {},
      .note = join(raw.notes, "; "),
      .mirror_changes_class = options.mirror_changes_class.value_or(raw.mirror_changes_class)};
  if (!info.note.empty()) log::info("dataset '" + name + "': " + info.note);
  // The constructor checks labels and shapes, which must come before the costly passes below.
  const auto channels = raw.train.images->shape().channels;
  const data::ImageDataset checked(info, raw.train, *raw.test,
                                   data::Preprocessing::identity(channels));
  info.sha256 = data::dataset_sha256(raw.train, *raw.test);
  const data::ImageDataset hashed(info, raw.train, *raw.test, checked.preprocessing());
  return hashed.with_preprocessing(choose_preprocessing(hashed, raw, options));
}

fs::path require_data_path(const std::string& name, const OpenOptions& options,
                           const std::string& expected) {
  if (options.data_path.empty()) {
    throw ConfigError(str("dataset '", name, "': needs --data PATH (or $RETORT_DATA): ", expected));
  }
  std::error_code error;
  if (!fs::exists(options.data_path, error)) {
    throw FilesNotFound(str("dataset '", name, "': '", options.data_path.string(), "' ",
                            error ? "cannot be read: " + error.message() : "does not exist",
                            "; expected ", expected));
  }
  return options.data_path;
}

fs::path find_folder(const std::string& name, const OpenOptions& options,
                     const FolderSearch& search) {
  std::vector<fs::path> places;
  if (!options.data_path.empty() || search.system_folder.empty()) {
    const fs::path root = require_data_path(name, options, "a folder with " + describe(search));
    places.push_back(root);
    for (const auto& sub : search.subfolders) places.push_back(root / sub);
  } else {
    places.push_back(search.system_folder);
  }
  for (const auto& place : places) {
    if (has_markers(place, search.markers)) return place;
  }
  std::vector<std::string> texts;
  texts.reserve(places.size());
  for (const auto& place : places) texts.push_back(str("'", place.string(), "'"));
  std::string hint = foreign_hint(places, search);
  if (options.data_path.empty() && !search.package.empty()) {
    hint = "; install the package " + search.package + " or give --data PATH";
  }
  throw FilesNotFound(str("dataset '", name, "': looked for ", describe(search), " in ",
                          join(texts), "; not all of them are in one place", hint));
}

void check_labels(const std::vector<std::int64_t>& labels, std::int64_t classes,
                  const std::string& source) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0 && labels[i] < classes) continue;
    throw DataError(
        str("'", source, "': label ", labels[i], " of image ", i, " is not in 0 .. ", classes - 1));
  }
}

std::string join_paths(const std::vector<fs::path>& paths) {
  std::string text = paths.front().string();
  if (paths.size() > 1) text += " .. " + paths.back().filename().string();
  return text;
}

bool is_channel_count(std::int64_t count) { return count == 1 || count == 3; }

Tensor label_tensor(const std::vector<std::int64_t>& labels) {
  return at::tensor(labels, at::kLong);
}

std::vector<std::string> numbered_classes(const std::vector<std::int64_t>& labels,
                                          const std::string& source) {
  check_labels(labels, kMostClasses, source);
  const std::int64_t largest =
      labels.empty() ? -1 : *std::max_element(labels.begin(), labels.end());
  std::vector<std::string> names;
  names.reserve(std::size_t(largest + 1));
  for (std::int64_t c = 0; c <= largest; ++c) names.push_back(std::to_string(c));
  return names;
}

}  // namespace retort::datasets
