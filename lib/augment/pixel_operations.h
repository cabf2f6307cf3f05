#pragma once
// Operations on 8-bit pixels that policies of augmentation are made of. Semantics are those of
// torchvision on uint8 tensors: nearest neighbours, black outside, results cut off to integers.

#include <string>

#include "lib/core/tensor.h"

namespace retort::augment {

/// With what the magnitude of each means; none where it has none.
enum class PixelOperation {
  Identity,
  ShearX,        ///< tangent: a row moves right by so many pixels per row above it, from the top
  ShearY,        ///< the same of columns
  TranslateX,    ///< pixels to the right, cut off to an integer
  TranslateY,    ///< pixels down
  Rotate,        ///< degrees, counter-clockwise around the centre
  Brightness,    ///< factor - 1, from black
  Color,         ///< factor - 1, from gray
  Contrast,      ///< factor - 1, from the mean gray of the image
  Sharpness,     ///< factor - 1, from a blurred copy; the outermost pixels stay
  Posterize,     ///< highest bits that are kept, 0 .. 8
  Solarize,      ///< pixels from this value on are inverted
  AutoContrast,  ///< every channel is stretched to 0 .. 255
  Equalize,      ///< every channel gets a flat histogram
  Invert,
  Hue,  ///< turns, -0.5 .. 0.5
  Flip  ///< left and right change places
};

/// The same operation with the same magnitude on every image.
/// @param pixels uint8 [N,C,H,W], C is 1 or 3; gray images have neither colour nor hue
/// @return uint8 [N,C,H,W]
Tensor apply(PixelOperation operation, double magnitude, const Tensor& pixels);

}  // namespace retort::augment
