#pragma once
// The six operations of Siamese augmentation (lib/augment) and their gradients with respect to the
// images. Parameters are one set for all images or one per image.
//
// Colour, crop, cutout and flip are linear in the image but for a shift, and the transpose of each
// is the same operation with the parameters that adjoint() gives. Scale and rotate are one
// resampling; its transpose gathers too, so nothing here needs atomic additions.

#include <cmath>
#include <cstdint>

#include "lib/kernels/cuda/grid.h"

namespace retort::kernels::cuda {

struct ImageBatch {
  std::int64_t images, channels, height, width;

  RETORT_HD std::int64_t pixels() const { return height * width; }
  RETORT_HD std::int64_t image_size() const { return channels * pixels(); }
  RETORT_HD std::int64_t size() const { return images * image_size(); }
};

/// One operation on a batch: [N,C,H,W] float32, contiguous, `out` not `in`.
template <class Parameters>
struct Augmentation {
  ImageBatch batch;
  const float* in;
  float* out;
  const Parameters* parameters;
  bool shared;  ///< one entry for all images, else one per image

  RETORT_HD const Parameters& of(std::int64_t image) const {
    return parameters[shared ? 0 : image];
  }
};

/// Where an index of `out` lies.
struct Position {
  std::int64_t image, channel, row, column;
};

RETORT_HD Position position_of(const ImageBatch& batch, std::int64_t index) {
  const std::int64_t pixel = index % batch.pixels();
  const std::int64_t plane = index / batch.pixels();
  return {plane / batch.channels, plane % batch.channels, pixel / batch.width, pixel % batch.width};
}

// ---- colour -------------------------------------------------------------------------------------

/// x + shift; then around the mean over the channels by `saturation`; then around the mean of the
/// image by `contrast`.
struct ColorParameters {
  float shift, saturation, contrast;
};

inline ColorParameters adjoint(ColorParameters p) { return {0, p.saturation, p.contrast}; }

/// Mean over C,H,W of every image: neither shift nor saturation moves it but by the shift.
struct ImageMean {
  ImageBatch batch;
  const float* in;
  float* means;  ///< [N]

  RETORT_HD std::int64_t rows() const { return batch.images; }
  RETORT_HD std::int64_t length() const { return batch.image_size(); }
  RETORT_HD Sums term(std::int64_t image, std::int64_t i) const {
    return {in[image * length() + i], 0};
  }
  RETORT_HD void finish(std::int64_t image, Sums sums) const {
    means[image] = sums.first / float(length());
  }
};

/// One pixel with all its channels.
struct ColorPixel {
  Augmentation<ColorParameters> task;
  const float* means;

  RETORT_HD std::int64_t size() const { return task.batch.images * task.batch.pixels(); }
  RETORT_HD void operator()(std::int64_t index) const {
    const ImageBatch& batch = task.batch;
    const std::int64_t image = index / batch.pixels();
    const std::int64_t first = image * batch.image_size() + index % batch.pixels();
    const ColorParameters& p = task.of(image);
    float gray = 0;
    for (std::int64_t c = 0; c < batch.channels; ++c) gray += task.in[first + c * batch.pixels()];
    gray /= float(batch.channels);
    const float mean = means[image];
    for (std::int64_t c = 0; c < batch.channels; ++c) {
      const std::int64_t i = first + c * batch.pixels();
      const float vivid = gray + p.saturation * (task.in[i] - gray);
      task.out[i] = mean + p.contrast * (vivid - mean) + p.shift;
    }
  }
};

// ---- crop, cutout, flip -------------------------------------------------------------------------

/// y[r,c] = x[r+rows, c+columns], zero outside.
struct CropParameters {
  std::int64_t rows, columns;
};

inline CropParameters adjoint(CropParameters p) { return {-p.rows, -p.columns}; }

struct CropElement {
  Augmentation<CropParameters> task;

  RETORT_HD std::int64_t size() const { return task.batch.size(); }
  RETORT_HD void operator()(std::int64_t index) const {
    const Position at = position_of(task.batch, index);
    const CropParameters& p = task.of(at.image);
    const std::int64_t row = at.row + p.rows;
    const std::int64_t column = at.column + p.columns;
    const bool inside =
        row >= 0 && row < task.batch.height && column >= 0 && column < task.batch.width;
    task.out[index] = inside ? task.in[index + p.rows * task.batch.width + p.columns] : 0;
  }
};

/// Zero in rows row_begin .. row_end-1 of columns column_begin .. column_end-1, which may lie
/// outside.
struct CutoutParameters {
  std::int64_t row_begin, row_end, column_begin, column_end;
};

/// The square of side `side` (rows) and `width_side` (columns) around a centre.
inline CutoutParameters cutout_around(std::int64_t row, std::int64_t column, std::int64_t side,
                                      std::int64_t width_side) {
  const std::int64_t top = row - side / 2;
  const std::int64_t left = column - width_side / 2;
  return {top, top + side, left, left + width_side};
}

inline CutoutParameters adjoint(CutoutParameters p) { return p; }

struct CutoutElement {
  Augmentation<CutoutParameters> task;

  RETORT_HD std::int64_t size() const { return task.batch.size(); }
  RETORT_HD void operator()(std::int64_t index) const {
    const Position at = position_of(task.batch, index);
    const CutoutParameters& p = task.of(at.image);
    const bool erased = at.row >= p.row_begin && at.row < p.row_end &&
                        at.column >= p.column_begin && at.column < p.column_end;
    task.out[index] = erased ? 0 : task.in[index];
  }
};

struct FlipParameters {
  bool mirrored;
};

inline FlipParameters adjoint(FlipParameters p) { return p; }

struct FlipElement {
  Augmentation<FlipParameters> task;

  RETORT_HD std::int64_t size() const { return task.batch.size(); }
  RETORT_HD void operator()(std::int64_t index) const {
    const Position at = position_of(task.batch, index);
    const std::int64_t mirrored = index - at.column + (task.batch.width - 1 - at.column);
    task.out[index] = task.in[task.of(at.image).mirrored ? mirrored : index];
  }
};

// ---- scale, rotate ------------------------------------------------------------------------------

/// Bilinear sampling, zeros outside: pixel offset (x, y) from the image's centre in the output
/// reads offset (xx x + xy y, yx x + yy y) of the input. Offsets in pixels are the coordinates of
/// either align_corners convention but for one factor, so only rotation() needs to know it.
struct ResampleParameters {
  float xx, xy, yx, yy;
};

/// @param scale_x,scale_y  below 1 zooms in
inline ResampleParameters scaling(double scale_x, double scale_y) {
  return {float(scale_x), 0, 0, float(scale_y)};
}

/// Rotation by `angle` radians in coordinates of [-1,1] across both sides.
inline ResampleParameters rotation(double angle, const ImageBatch& batch, bool align_corners) {
  const double across = double(batch.width) - (align_corners ? 1 : 0);
  const double down = double(batch.height) - (align_corners ? 1 : 0);
  const auto ratio = [](double a, double b) {
    return b > 0 ? a / b : 0.0;
  };  // one pixel: no offset
  return {float(std::cos(angle)), float(-std::sin(angle) * ratio(across, down)),
          float(std::sin(angle) * ratio(down, across)), float(std::cos(angle))};
}

/// Position in pixels of the input.
struct Source {
  float row, column;
};

RETORT_HD Source source_of(const ResampleParameters& p, const ImageBatch& batch, std::int64_t row,
                           std::int64_t column) {
  const float center_row = float(batch.height - 1) / 2;
  const float center_column = float(batch.width - 1) / 2;
  const float y = float(row) - center_row;
  const float x = float(column) - center_column;
  return {center_row + (p.yx * x + p.yy * y), center_column + (p.xx * x + p.xy * y)};
}

/// Bilinear weight of `pixel` at `position` along one axis.
RETORT_HD float tap(float position, std::int64_t pixel) {
  const std::int64_t below = floor_to_integer(position);
  const float above_share = position - float(below);
  if (pixel == below) return 1 - above_share;
  return pixel == below + 1 ? above_share : 0;
}

/// One pixel with all its channels.
struct ResamplePixel {
  Augmentation<ResampleParameters> task;

  RETORT_HD std::int64_t size() const { return task.batch.images * task.batch.pixels(); }
  RETORT_HD void operator()(std::int64_t index) const {
    const ImageBatch& batch = task.batch;
    const std::int64_t image = index / batch.pixels();
    const std::int64_t pixel = index % batch.pixels();
    const Source source =
        source_of(task.of(image), batch, pixel / batch.width, pixel % batch.width);
    const std::int64_t row = floor_to_integer(source.row);
    const std::int64_t column = floor_to_integer(source.column);
    for (std::int64_t c = 0; c < batch.channels; ++c) {
      const std::int64_t plane = (image * batch.channels + c) * batch.pixels();
      float sum = 0;
      for (std::int64_t r = row; r < row + 2; ++r) {
        if (r < 0 || r >= batch.height) continue;
        for (std::int64_t k = column; k < column + 2; ++k) {
          if (k < 0 || k >= batch.width) continue;
          sum += tap(source.row, r) * tap(source.column, k) * task.in[plane + r * batch.width + k];
        }
      }
      task.out[plane + pixel] = sum;
    }
  }
};

/// First and last + 1 of the output rows or columns that can read one input pixel.
struct Range {
  std::int64_t begin, end;
};

/// @param middle output position that reads the pixel exactly  @param reach largest distance
RETORT_HD Range around(float middle, float reach, std::int64_t side) {
  constexpr float kRounding = 0.01F;
  const auto limit = float(side);
  float low = middle - reach - kRounding;
  float high = middle + reach + kRounding;
  low = low > 0 ? (low < limit ? low : limit) : 0;
  high = high > -1 ? (high < limit ? high : limit) : -1;
  const std::int64_t end = floor_to_integer(high) + 1;
  return {floor_to_integer(low), end < side ? end : side};
}

/// The transpose: one pixel of the images' gradient gathers from all outputs that read it, with the
/// weights computed as in the forward pass.
struct ResampleGradientPixel {
  Augmentation<ResampleParameters> task;  ///< in: gradient of the output; out: of the images

  RETORT_HD std::int64_t size() const { return task.batch.images * task.batch.pixels(); }

  RETORT_HD void operator()(std::int64_t index) const {
    const ImageBatch& batch = task.batch;
    const std::int64_t image = index / batch.pixels();
    const std::int64_t pixel = index % batch.pixels();
    const std::int64_t row = pixel / batch.width;
    const std::int64_t column = pixel % batch.width;
    Range rows{0, batch.height};
    Range columns{0, batch.width};
    narrow(task.of(image), row, column, rows, columns);
    for (std::int64_t c = 0; c < batch.channels; ++c) {
      const std::int64_t plane = (image * batch.channels + c) * batch.pixels();
      float sum = 0;
      for (std::int64_t r = rows.begin; r < rows.end; ++r) {
        for (std::int64_t k = columns.begin; k < columns.end; ++k) {
          const Source source = source_of(task.of(image), batch, r, k);
          const float weight = tap(source.row, row) * tap(source.column, column);
          sum += weight * task.in[plane + r * batch.width + k];
        }
      }
      task.out[plane + pixel] = sum;
    }
  }

 private:
  /// Outputs that read within one pixel of (row, column), by the inverse matrix; all of them where
  /// there is no inverse (images of one row or column turned by a right angle).
  RETORT_HD void narrow(const ResampleParameters& p, std::int64_t row, std::int64_t column,
                        Range& rows, Range& columns) const {
    const float determinant = p.xx * p.yy - p.xy * p.yx;
    if (!(std::fabs(determinant) > 1e-6F)) return;
    const float center_row = float(task.batch.height - 1) / 2;
    const float center_column = float(task.batch.width - 1) / 2;
    const float y = float(row) - center_row;
    const float x = float(column) - center_column;
    rows = around(center_row + (p.xx * y - p.yx * x) / determinant,
                  (std::fabs(p.xx) + std::fabs(p.yx)) / std::fabs(determinant), task.batch.height);
    columns =
        around(center_column + (p.yy * x - p.xy * y) / determinant,
               (std::fabs(p.yy) + std::fabs(p.xy)) / std::fabs(determinant), task.batch.width);
  }
};

// ---- passes -------------------------------------------------------------------------------------

/// @param means [N] scratch
template <class Grid>
void run(const Grid& grid, const Augmentation<ColorParameters>& task, float* means) {
  grid.rows(ImageMean{task.batch, task.in, means});
  grid.each(ColorPixel{task, means});
}

template <class Grid>
void run(const Grid& grid, const Augmentation<CropParameters>& task) {
  grid.each(CropElement{task});
}

template <class Grid>
void run(const Grid& grid, const Augmentation<CutoutParameters>& task) {
  grid.each(CutoutElement{task});
}

template <class Grid>
void run(const Grid& grid, const Augmentation<FlipParameters>& task) {
  grid.each(FlipElement{task});
}

template <class Grid>
void run(const Grid& grid, const Augmentation<ResampleParameters>& task) {
  grid.each(ResamplePixel{task});
}

template <class Grid>
void run_gradient(const Grid& grid, const Augmentation<ResampleParameters>& task) {
  grid.each(ResampleGradientPixel{task});
}

}  // namespace retort::kernels::cuda
