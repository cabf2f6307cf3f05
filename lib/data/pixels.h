#pragma once
// Between images in preprocessed space and the 8-bit pixels they are stored as.

#include "lib/core/tensor.h"
#include "lib/data/preprocessing.h"

namespace retort::data {

/// Every channel clamped to what pixels 0 .. 1 become: [-m/s, (1-m)/s]. Doing so twice changes
/// nothing.
/// @param images [N,C,H,W] floating, preprocessed by mean and std
/// @throws ConfigError for whitened images, whose channels have no bounds of their own
Tensor clamp_to_pixels(const Preprocessing& preprocessing, const Tensor& images);

/// Pixels clamped to 0 .. 1, times 255, cut off: what the decoupled methods store (Yin et al.
/// 2023).
/// @param images [N,C,H,W] floating, preprocessed  @return uint8, same shape
Tensor truncated_bytes(const Preprocessing& preprocessing, const Tensor& images);

/// The 8-bit pixels that `preprocessing.apply` turns into exactly these images.
/// @param images [N,C,H,W] float32  @throws DataError saying how many values come from no such
/// pixel
Tensor exact_bytes(const Preprocessing& preprocessing, const Tensor& images);

}  // namespace retort::data
