#pragma once
// Differentiable (Siamese) augmentation: Zhao and Bilen 2021 (DSA), with the variants of FYI
// (Son et al. 2024), MTT and IDC (Kim et al. 2022). Zero fill is the mean colour of normalised data.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"

namespace retort::augment {

enum class Operation { Color, Crop, Cutout, Flip, Scale, Rotate };

std::string operation_name(Operation op);

/// What is drawn from and how: a list of operations and the code base's conventions.
struct Strategy {
  std::vector<Operation> operations;  ///< empty: no augmentation
  bool align_corners = false;         ///< of scale and rotate; MTT and FYI: true
  bool flip_first = false;            ///< FYI: flip leaves the list and is applied first, always
  bool combined = false;              ///< IDC: flip, colour, one of crop/scale/rotate, cutout: all

  double crop_ratio = 0.125;
  double cutout_ratio = 0.5;
  double scale_ratio = 1.2;
  double rotate_degrees = 15;
  double brightness = 1.0;  ///< shift in +-brightness/2, normalised units
  double saturation = 2.0;  ///< factor 0 .. saturation
  double contrast = 0.5;    ///< factor 1-contrast .. 1+contrast

  /// "color_crop_cutout_flip_scale_rotate", any subset in any order; "none" or "" is empty.
  /// @throws ConfigError naming the unknown operation
  static Strategy parse(const std::string& text);
  std::string text() const;
};

/// Everything one application needs, already drawn. Vectors hold one value for all samples
/// (size 1, Siamese) or one value per sample. Unused ones are empty. Applying the same draw to two
/// batches applies the same operations with the same parameters, whatever the batch sizes.
struct Draw {
  std::vector<Operation> sequence;  ///< operations in the order of application
  std::vector<double> brightness;   ///< u in [0,1): x + (u-0.5)*brightness
  std::vector<double> saturation;   ///< u: factor 2u
  std::vector<double> contrast;     ///< u: factor u+0.5
  std::vector<std::int64_t> shift_row, shift_col;    ///< crop
  std::vector<std::int64_t> center_row, center_col;  ///< cutout
  std::vector<double> flip;      ///< u: mirrored if u < 0.5
  std::vector<double> scale_x, scale_y;  ///< factors applied
  std::vector<double> angle;     ///< radians
};

enum class Sharing {
  Siamese,   ///< one set of parameters for all samples
  PerSample  ///< one operation per call, parameters per sample
};

/// @param count number of samples (PerSample); ignored for Siamese
/// @param height,width of the images
Draw draw(const Strategy& strategy, Sharing sharing, std::int64_t count, std::int64_t height,
          std::int64_t width, Rng& rng);

/// Applies a draw. Differentiable in `images`.
/// @param images [N,C,H,W] floating
/// @throws ConfigError if a per-sample draw was made for another batch size
Tensor apply(const Strategy& strategy, const Draw& draw, const Tensor& images);

/// draw + apply with per-sample parameters: network training and evaluation.
Tensor augment_batch(const Strategy& strategy, const Tensor& images, Rng& rng);

}  // namespace retort::augment
