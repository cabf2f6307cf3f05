#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"

namespace retort::synth {

struct PictureOptions {
  bool decoded = false;        ///< the images networks train on instead of the stored ones
  std::int64_t per_class = 0;  ///< at most so many columns; 0: all
  std::int64_t real = 0;       ///< real training images beside each class, when a dataset is given
  std::string title{};
};

struct Picture {
  Tensor pixels;                ///< uint8 [3,H,W]
  double clipped_fraction = 0;  ///< of pixel values outside [0,1] after undoing the preprocessing
};

/// A grid with one row a class, preprocessing undone, values clipped to [0,1]. Of stored images
/// also a row of what the decoder adds to them, around gray.
/// @param dataset for real images beside; may be null
Picture draw_set(const data::SyntheticSet& set, const PictureOptions& options = {},
                 const data::ImageDataset* dataset = nullptr);

/// Images in preprocessed space as uint8 pixels.
struct Pixels {
  Tensor values;  ///< uint8 [N,C,H,W]
  double clipped_fraction = 0;
};
Pixels to_pixels(const Tensor& images, const data::Preprocessing& preprocessing);

}  // namespace retort::synth
