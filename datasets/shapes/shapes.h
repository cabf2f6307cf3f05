#pragma once
// A generated dataset: simple shapes with jittered place, size and brightness, on noise. Needs no
// files and milliseconds; feeds the tests and first steps.

#include <cstdint>

#include "datasets/dataset.h"

namespace retort::datasets::shapes {

struct ShapesOptions {
  std::int64_t classes = 4;   ///< 2 .. 10, in the order of shape_names()
  std::int64_t channels = 1;  ///< 1 or 3; shape and background then have random colours
  std::int64_t side = 16;     ///< 8 or more
  std::int64_t train_per_class = 100;
  std::int64_t test_per_class = 50;
  double noise = 0.1;  ///< standard deviation, pixels in [0,1]
  std::uint64_t seed = 0;
};

/// The ten shapes in label order: disc, square, cross, bars, ...
const std::vector<std::string>& shape_names();

/// Whether a point lies in one of them, in coordinates that span -1 .. 1 over its extent.
/// @param shape 0 .. 9  @param y downwards
bool inside_shape(std::int64_t shape, double x, double y);

/// Same options, same pixels. @throws ConfigError for options out of range
data::ImageDataset make_shapes(const ShapesOptions& options, const OpenOptions& open = {},
                               const std::string& name = "shapes");

/// `shapes`: 4 classes of 1x16x16; `shapes-rgb`: 10 classes of 3x16x16.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::shapes
