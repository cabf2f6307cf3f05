#pragma once
// A generated dataset with up to 1,000 classes: a class is a shape, a colour and a ground pattern.
// Needs no files; for trying what depends on the number of classes.

#include <cstdint>

#include "datasets/dataset.h"

namespace retort::datasets::codes {

struct CodesOptions {
  std::int64_t classes =
      100;                 ///< 2 .. 1000; the first 10 differ in shape, the first 100 in colour too
  std::int64_t side = 32;  ///< 16 or more
  std::int64_t train_per_class = 40;
  std::int64_t test_per_class = 5;
  double noise = 0.05;  ///< pixels in [0,1] move by up to this
  std::uint64_t seed = 0;
};

/// Same options, same pixels, and class k of more classes looks like class k of fewer.
/// @throws ConfigError for options out of range
data::ImageDataset make_codes(const CodesOptions& options, const OpenOptions& open = {},
                              const std::string& name = "codes");

/// `codes-10`, `codes-100`, `codes-1000`: 3x32x32, 40 training and 5 test images of each class.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::codes
