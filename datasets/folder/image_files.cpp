#include "datasets/folder/image_files.h"

#include <algorithm>
#include <array>
#include <utility>

#include "datasets/assemble.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/vision/vision.h"

namespace retort::datasets {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kFilesPerTask = 64;

bool is_hidden(const fs::path& path) { return path.filename().string().front() == '.'; }

bool has_image_name(const fs::path& path) {
  static const std::array<std::string, 5> extensions = {".jpg", ".jpeg", ".png", ".bmp", ".webp"};
  const std::string extension = lower_case(path.extension().string());
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

[[noreturn]] void throw_unreadable(const fs::path& path, const std::error_code& error) {
  throw DataError("'" + path.string() + "': cannot be read: " + error.message());
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw_unreadable(folder, error);
  std::vector<fs::path> paths;
  for (const auto& entry : entries) {
    if (!is_hidden(entry.path())) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Follows links, so a link that loops or leads nowhere is an error rather than a missing image.
fs::file_type type_of(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    throw DataError("'" + path.string() + "': the link leads nowhere");
  }
  if (error) throw_unreadable(path, error);
  return status.type();
}

struct Walk {
  std::vector<fs::path> ancestors;  // canonical
  std::vector<fs::path> images;
  std::int64_t ignored = 0;

  void visit(const fs::path& folder) {
    std::error_code error;
    const fs::path canonical = fs::canonical(folder, error);
    if (error) throw_unreadable(folder, error);
    if (std::find(ancestors.begin(), ancestors.end(), canonical) != ancestors.end()) {
      throw DataError("'" + folder.string() + "': the links form a loop back to '" +
                      canonical.string() + "'");
    }
    ancestors.push_back(canonical);
    for (const auto& path : sorted_entries(folder)) {
      const fs::file_type type = type_of(path);
      if (type == fs::file_type::directory) {
        visit(path);
      } else if (type == fs::file_type::regular && has_image_name(path)) {
        images.push_back(path);
      } else {
        ++ignored;
      }
    }
    ancestors.pop_back();
  }
};

data::ImageShape shape_of(const Tensor& image) {
  return {image.size(0), image.size(1), image.size(2)};
}

// What an image must look like, and the file it was learned from.
struct Expected {
  data::ImageShape shape;
  fs::path reference;

  void check(const Tensor& image, const fs::path& path) const {
    const data::ImageShape found = shape_of(image);
    if (found.channels != shape.channels) {
      throw DataError(str("'", path.string(), "' has ", found.channels, " channel(s), '",
                          reference.string(), "' ", shape.channels,
                          "; all images must be gray or all colour; convert the odd ones"));
    }
    if (found == shape) return;
    throw DataError(str("'", path.string(), "' is ", found.width, "x", found.height, " pixels, '",
                        reference.string(), "' ", shape.width, "x", shape.height,
                        "; all images must have one size; give --image-size N to resize and crop"));
  }
};

// `out` is uint8 [n,C,H,W]; row i comes from the file path_of(i).
template <class PathOf>
void decode_into(Tensor& out, const PathOf& path_of, const DecodeRules& rules,
                 const Expected& expected) {
  const std::int64_t count = out.size(0);
  parallel_tasks((count + kFilesPerTask - 1) / kFilesPerTask, [&](std::int64_t task) {
    const std::int64_t end = std::min(count, (task + 1) * kFilesPerTask);
    for (std::int64_t i = task * kFilesPerTask; i < end; ++i) {
      const fs::path& path = path_of(i);
      const Tensor image = load_image(path, rules);
      expected.check(image, path);
      out[i].copy_(image);
    }
  });
}

Tensor empty_images(std::int64_t count, const data::ImageShape& shape) {
  return at::empty({count, shape.channels, shape.height, shape.width}, at::kByte);
}

data::DataSplit in_memory(const ImageFiles& files, const DecodeRules& rules,
                          const Expected& expected) {
  Tensor images = empty_images(std::int64_t(files.paths.size()), expected.shape);
  const auto path_of = [&](std::int64_t i) -> const fs::path& {
    return files.paths[std::size_t(i)];
  };
  decode_into(images, path_of, rules, expected);
  return {std::make_shared<data::MemoryStore>(images), label_tensor(files.labels)};
}

data::DataSplit on_disk(const ImageFiles& files, const DecodeRules& rules,
                        const Expected& expected) {
  return {std::make_shared<FileStore>(files.paths, rules, expected.shape, expected.reference),
          label_tensor(files.labels)};
}

}  // namespace

std::vector<fs::path> list_images(const fs::path& folder, std::int64_t& ignored) {
  Walk walk;
  walk.visit(folder);
  ignored += walk.ignored;
  return std::move(walk.images);
}

std::vector<fs::path> list_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  for (const auto& path : sorted_entries(folder)) {
    if (type_of(path) == fs::file_type::directory) folders.push_back(path);
  }
  return folders;
}

Tensor load_image(const fs::path& path, const DecodeRules& rules) {
  Tensor image = vision::read_image(path);
  if (rules.gray_to_rgb && image.size(0) == 1) image = image.expand({3, -1, -1});
  return rules.image_size > 0 ? vision::resize_and_crop(image, rules.image_size) : image;
}

FileStore::FileStore(std::vector<fs::path> paths, DecodeRules rules, data::ImageShape shape,
                     fs::path reference)
    : paths_(std::move(paths)), rules_(rules), shape_(shape), reference_(std::move(reference)) {}

Tensor FileStore::pixels(const Tensor& indices) const {
  Tensor images = empty_images(indices.size(0), shape_);
  const Tensor rows = indices.contiguous();
  const auto* row = rows.const_data_ptr<std::int64_t>();
  const auto path_of = [&](std::int64_t i) -> const fs::path& {
    return paths_.at(std::size_t(row[i]));
  };
  decode_into(images, path_of, rules_, {shape_, reference_});
  return images;
}

ImageSplits load_splits(const ImageFiles& train, const ImageFiles& test, const DecodeRules& rules,
                        std::int64_t memory_limit_bytes) {
  const fs::path& first = train.paths.front();
  const Expected expected{shape_of(load_image(first, rules)), first};
  const auto count = std::int64_t(train.paths.size() + test.paths.size());
  const double bytes = double(count) * double(expected.shape.numel());
  ImageSplits splits;
  const bool lazy = bytes > double(memory_limit_bytes);
  if (lazy) {
    log::info(str("images are decoded from disk whenever they are needed (", bytes / 1e9,
                  " GB decoded, kept in memory up to ", double(memory_limit_bytes) / 1e9, " GB)"));
  }
  const auto& load = lazy ? on_disk : in_memory;
  splits.train = load(train, rules, expected);
  if (!test.paths.empty()) splits.test = load(test, rules, expected);
  return splits;
}

}  // namespace retort::datasets
