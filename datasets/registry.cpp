#include <algorithm>

#include "datasets/cifar_bin/cifar_source.h"
#include "datasets/codes/codes.h"
#include "datasets/dataset.h"
#include "datasets/folder/folder_source.h"
#include "datasets/hdf5/hdf5_source.h"
#include "datasets/idx/idx_source.h"
#include "datasets/shapes/shapes.h"
#include "datasets/tiny_imagenet/tiny_imagenet.h"
#include "lib/core/error.h"
#include "lib/core/names.h"

namespace retort::datasets {
namespace {

// Spellings that differ only in case, hyphens and underscores mean the same dataset.
std::string plain_spelling(const std::string& name) {
  std::string plain = lower_case(name);
  std::erase_if(plain, [](char c) { return c == '-' || c == '_'; });
  return plain;
}

bool answers_to(const DatasetEntry& entry, const std::string& name) {
  const std::string plain = plain_spelling(name);
  return plain_spelling(entry.name) == plain ||
         std::any_of(entry.aliases.begin(), entry.aliases.end(),
                     [&](const std::string& alias) { return plain_spelling(alias) == plain; });
}

}  // namespace

const std::vector<DatasetEntry>& all_datasets() {
  static const std::vector<DatasetEntry> datasets = {
      {"fashion-mnist",
       {"FashionMNIST", "fmnist"},
       "1x28x28, 10 classes, 60000/10000, IDX files; --data or package dataset-fashion-mnist",
       idx::open,
       KnownSize{{1, 28, 28}, 10, 60'000}},
      {"mnist",
       {},
       "1x28x28, 10 classes, 60000/10000, IDX files",
       idx::open,
       KnownSize{{1, 28, 28}, 10, 60'000}},
      {"emnist-balanced",
       {"emnist"},
       "1x28x28, 47 classes, 112800/18800, IDX files",
       idx::open,
       KnownSize{{1, 28, 28}, 47, 112'800}},
      {"emnist-letters",
       {},
       "1x28x28, 26 classes, 124800/20800, IDX files",
       idx::open,
       KnownSize{{1, 28, 28}, 26, 124'800}},
      {"emnist-digits",
       {},
       "1x28x28, 10 classes, 240000/40000, IDX files",
       idx::open,
       KnownSize{{1, 28, 28}, 10, 240'000}},
      {"emnist-mnist",
       {},
       "1x28x28, 10 classes, 60000/10000, IDX files",
       idx::open,
       KnownSize{{1, 28, 28}, 10, 60'000}},
      {"emnist-byclass", {}, "1x28x28, 62 classes, unbalanced, IDX files", idx::open},
      {"emnist-bymerge", {}, "1x28x28, 47 classes, unbalanced, IDX files", idx::open},
      {"cifar10",
       {},
       "3x32x32, 10 classes, 50000/10000, binary version",
       cifar_bin::open,
       KnownSize{{3, 32, 32}, 10, 50'000}},
      {"cifar100",
       {},
       "3x32x32, 100 classes, 50000/10000, binary version",
       cifar_bin::open,
       KnownSize{{3, 32, 32}, 100, 50'000}},
      {"tiny-imagenet",
       {"tiny-imagenet-200", "tiny"},
       "3x64x64, 200 classes, 100000/10000, JPEG files as distributed",
       tiny_imagenet::open,
       KnownSize{{3, 64, 64}, 200, 100'000}},
      {"folder",
       {"image-folder"},
       "pictures in train/<class>/ and test/<class>/, or <class>/ with a test split made; "
       "--image-size resizes and crops",
       folder::open},
      {"cifar-bin",
       {"cifar-binary"},
       "a folder in the binary layout of CIFAR-10 or CIFAR-100, any classes",
       cifar_bin::open},
      {"hdf5",
       {"h5"},
       "one HDF5 file: images uint8, labels; optional test_images, test_labels, class_names",
       hdf5::open},
      {"idx",
       {},
       "a folder of IDX files: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k or test",
       idx::open},
      {"shapes",
       {},
       "generated: 1x16x16, 4 classes of simple shapes, 400/200",
       shapes::open,
       KnownSize{{1, 16, 16}, 4, 400}},
      {"shapes-rgb",
       {},
       "generated: 3x16x16, 10 classes of simple shapes, 1000/500",
       shapes::open,
       KnownSize{{3, 16, 16}, 10, 1000}},
      {"codes-10",
       {},
       "generated: 3x32x32, 10 classes of shapes, 400/50",
       codes::open,
       KnownSize{{3, 32, 32}, 10, 400}},
      {"codes-100",
       {},
       "generated: 3x32x32, 100 classes of shape and colour, 4000/500",
       codes::open,
       KnownSize{{3, 32, 32}, 100, 4000}},
      {"codes-1000",
       {},
       "generated: 3x32x32, 1000 classes of shape, colour and ground, 40000/5000",
       codes::open,
       KnownSize{{3, 32, 32}, 1000, 40'000}},
  };
  return datasets;
}

const DatasetEntry& find_dataset(const std::string& name) {
  for (const auto& entry : all_datasets()) {
    if (answers_to(entry, name)) return entry;
  }
  std::vector<std::string> known;
  for (const auto& entry : all_datasets()) known.push_back(entry.name);
  throw ConfigError(unknown_name_message("dataset", name, known));
}

data::ImageDataset open_dataset(const std::string& name, const OpenOptions& options) {
  const DatasetEntry& entry = find_dataset(name);
  return entry.open(entry, options);
}

}  // namespace retort::datasets
