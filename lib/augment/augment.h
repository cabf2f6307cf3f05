#pragma once
// Differentiable (Siamese) augmentation: Zhao and Bilen 2021 (DSA), with the variants of FYI
// (Son et al. 2024), MTT and IDC (Kim et al. 2022). Zero fill is the mean colour of normalised
// data.
//
// Drawing and applying are apart: a Draw holds every parameter, so one draw can be applied to a
// real and to a synthetic batch, stored, or written by hand.

#include <cstdint>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"

namespace retort::augment {

enum class Operation { Color, Crop, Cutout, Flip, Scale, Rotate };

std::string operation_name(Operation op);

/// The papers' usual ones as text: all six, but no flip where a mirror image is of another class.
std::string usual_operations(bool mirror_changes_class);

/// What is drawn from and how: a list of operations and the code base's conventions.
struct Strategy {
  std::vector<Operation> operations;  ///< empty: no augmentation
  bool align_corners = false;         ///< of scale and rotate; MTT and FYI: true
  bool flip_first = false;            ///< FYI: flip leaves the list and is applied first, always
  bool combined = false;              ///< IDC: flip, colour, one of crop/scale/rotate, cutout: all

  double crop_ratio = 0.125;   ///< largest shift over the side, 0 .. 0.5
  double cutout_ratio = 0.5;   ///< side of the erased square over the image's, 0 .. 1
  double scale_ratio = 1.2;    ///< factors lie in 1/ratio .. ratio, at least 1
  double rotate_degrees = 15;  ///< angles lie in +-degrees
  double brightness = 1.0;     ///< shift in +-brightness/2, normalised units
  double saturation = 2.0;     ///< factor 0 .. saturation
  double contrast = 0.5;       ///< factor 1-contrast .. 1+contrast

  /// "color_crop_cutout_flip_scale_rotate", any subset in any order; "none" or "" is empty.
  /// @throws ConfigError naming the unknown or repeated operation
  static Strategy parse(const std::string& text);
  /// The same in the conventions of a code base: "dsa", "mtt", "fyi" or "idc".
  /// @throws ConfigError also for another style
  static Strategy of(const std::string& text, const std::string& style);
  std::string text() const;
};

/// Everything one application needs, already drawn. Vectors hold one value for all samples
/// (size 1, Siamese) or one value per sample. Unused ones are empty. Applying the same draw to two
/// batches applies the same operations with the same parameters, whatever the batch sizes.
struct Draw {
  std::vector<Operation> sequence;  ///< operations in the order of application
  std::vector<double> brightness;   ///< u in [0,1): x + (u-0.5)*brightness
  std::vector<double> saturation;   ///< u: factor saturation*u around the mean over the channels
  std::vector<double> contrast;     ///< u: factor 1+contrast*(2u-1) around the mean of the image
  std::vector<std::int64_t> shift_row, shift_col;    ///< crop: y[r,c] = x[r+shift_row, c+shift_col]
  std::vector<std::int64_t> center_row, center_col;  ///< cutout: of the erased square
  std::vector<double> flip;                          ///< u: mirrored if u < 0.5
  std::vector<double> scale_x, scale_y;              ///< x_in = scale_x * x_out; below 1 zooms in
  std::vector<double> angle;                         ///< radians
};

enum class Sharing {
  Siamese,   ///< one set of parameters for all samples
  PerSample  ///< one operation per call, parameters per sample
};

/// Factor behind a uniform u in [0,1): from 1/scale_ratio up to scale_ratio.
double scale_factor(const Strategy& strategy, double u);
/// Angle in radians behind a uniform u in [0,1).
double rotation_angle(const Strategy& strategy, double u);

/// Draws in this order, and nothing else, from `rng`:
///  - the flip, when it comes first (flip_first or combined, and flip is in the list);
///  - combined: brightness, saturation, contrast, when colour is in the list;
///  - the position in the list of the operations left to choose from (even if there is only one);
///  - its parameters: colour brightness, saturation, contrast; crop rows, columns; cutout rows,
///    columns; flip; scale horizontal, vertical; rotate angle;
///  - combined: rows and columns of the cutout, when it is in the list.
/// A parameter is drawn for all samples before the next parameter. Siamese draws do not depend on
/// `count`.
/// @param count number of samples (PerSample); ignored for Siamese
/// @param height,width of the images
/// @throws ConfigError if a ratio of the strategy is outside its range
Draw draw(const Strategy& strategy, Sharing sharing, std::int64_t count, std::int64_t height,
          std::int64_t width, Rng& rng);

/// Applies a draw. Differentiable in `images` (colour, crop, cutout and flip any number of times,
/// scale and rotate once). May return `images` itself where the draw is the identity.
/// @param images [N,C,H,W] floating
/// @throws ConfigError if a per-sample draw was made for another batch size
Tensor apply(const Strategy& strategy, const Draw& draw, const Tensor& images);

/// draw + apply with per-sample parameters: network training and evaluation.
Tensor augment_batch(const Strategy& strategy, const Tensor& images, Rng& rng);

}  // namespace retort::augment
