#pragma once
// A dataset made on the spot that a tiny network learns in a second: class c has a bright band of
// rows in its third of the image, under noise.

#include <cstdint>

#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "tests/support/threads.h"

namespace retort::testing {

constexpr const char* kTinyNet = "ConvNet-1-w8";

/// 3 classes of gray 8x8 images, `per_class` in each split.
data::ImageDataset separable_dataset(std::int64_t per_class, std::uint64_t seed);

/// The training split as images and hard labels.
data::LabelledImages training_images(const data::ImageDataset& dataset);

/// Equal to the last bit, shapes included.
bool same_bits(const Tensors& a, const Tensors& b);

}  // namespace retort::testing
