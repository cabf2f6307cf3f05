#pragma once
// Fused instance norm, affine, ReLU and 2x2 average pooling, the block behind every convolution of
// the default ConvNet. A plane is one channel of one image.

#include <cmath>
#include <cstdint>

#include "lib/kernels/cuda/grid.h"

namespace retort::kernels::cuda {

struct MapSize {
  std::int64_t images, channels, height, width;

  RETORT_HD std::int64_t planes() const { return images * channels; }
  RETORT_HD std::int64_t pixels() const { return height * width; }
  RETORT_HD std::int64_t pooled_height() const { return height / 2; }
  RETORT_HD std::int64_t pooled_width() const { return width / 2; }
  RETORT_HD std::int64_t pooled_pixels() const { return pooled_height() * pooled_width(); }
};

/// One forward pass; all arrays contiguous float32.
struct NormReluPool {
  MapSize size;
  const float* x;  ///< [N,C,H,W]
  const float* weight;
  const float* bias;  ///< [C], as weight
  float eps;
  float* mean;
  float* rstd;  ///< [N,C], as mean: 1 / standard deviation, kept for the gradient
  float* y;     ///< [N,C,H/2,W/2]

  RETORT_HD float standardised(std::int64_t plane, std::int64_t pixel) const {
    return (x[plane * size.pixels() + pixel] - mean[plane]) * rstd[plane];
  }
  /// Before the ReLU.
  RETORT_HD float affine(std::int64_t plane, float value) const {
    const std::int64_t channel = plane % size.channels;
    return value * weight[channel] + bias[channel];
  }
};

struct PlaneMean {
  NormReluPool in;

  RETORT_HD std::int64_t rows() const { return in.size.planes(); }
  RETORT_HD std::int64_t length() const { return in.size.pixels(); }
  RETORT_HD Sums term(std::int64_t plane, std::int64_t pixel) const {
    return {in.x[plane * length() + pixel], 0};
  }
  RETORT_HD void finish(std::int64_t plane, Sums sums) const {
    in.mean[plane] = sums.first / float(length());
  }
};

/// Two passes: a mean that is large against the deviation must not cost the variance its digits.
struct PlaneDeviation {
  NormReluPool in;

  RETORT_HD std::int64_t rows() const { return in.size.planes(); }
  RETORT_HD std::int64_t length() const { return in.size.pixels(); }
  RETORT_HD Sums term(std::int64_t plane, std::int64_t pixel) const {
    const float d = in.x[plane * length() + pixel] - in.mean[plane];
    return {d * d, d};
  }
  RETORT_HD void finish(std::int64_t plane, Sums sums) const {
    const auto n = float(length());
    const float rest = sums.second / n;  // what rounding left in the mean
    const float variance = sums.first / n - rest * rest;
    in.mean[plane] += rest;
    in.rstd[plane] = 1 / std::sqrt(variance + in.eps);
  }
};

struct PooledOutput {
  NormReluPool in;

  RETORT_HD std::int64_t size() const { return in.size.planes() * in.size.pooled_pixels(); }
  RETORT_HD void operator()(std::int64_t index) const {
    const std::int64_t plane = index / in.size.pooled_pixels();
    const std::int64_t pool = index % in.size.pooled_pixels();
    const std::int64_t row = 2 * (pool / in.size.pooled_width());
    const std::int64_t column = 2 * (pool % in.size.pooled_width());
    float sum = 0;
    for (std::int64_t r = row; r < row + 2; ++r) {
      for (std::int64_t c = column; c < column + 2; ++c) {
        const float z = in.affine(plane, in.standardised(plane, r * in.size.width + c));
        sum += z > 0 ? z : 0;
      }
    }
    in.y[index] = sum / 4;
  }
};

/// One backward pass after `forward`, whose mean and rstd are read.
struct NormReluPoolGradient {
  NormReluPool forward;
  const float* gy;    ///< [N,C,H/2,W/2]
  float* bias_sums;   ///< [N,C] scratch: per plane, the sum of the gradient before the ReLU
  float* scale_sums;  ///< [N,C] scratch: the same times the standardised value
  float* gx;          ///< [N,C,H,W], or nullptr if nobody asks
  float* gweight;     ///< [C], or nullptr together with gbias
  float* gbias;       ///< [C]

  /// Gradient of one pixel before the ReLU; rows and columns that no pool reads have none.
  RETORT_HD float before_relu(std::int64_t plane, std::int64_t pixel, float standardised) const {
    const MapSize& size = forward.size;
    const std::int64_t row = pixel / size.width / 2;
    const std::int64_t column = pixel % size.width / 2;
    if (row >= size.pooled_height() || column >= size.pooled_width()) return 0;
    if (!(forward.affine(plane, standardised) > 0)) return 0;
    return gy[plane * size.pooled_pixels() + row * size.pooled_width() + column] / 4;
  }
};

struct PlaneGradientSums {
  NormReluPoolGradient in;

  RETORT_HD std::int64_t rows() const { return in.forward.size.planes(); }
  RETORT_HD std::int64_t length() const { return in.forward.size.pixels(); }
  RETORT_HD Sums term(std::int64_t plane, std::int64_t pixel) const {
    const float value = in.forward.standardised(plane, pixel);
    const float g = in.before_relu(plane, pixel, value);
    return {g, g * value};
  }
  RETORT_HD void finish(std::int64_t plane, Sums sums) const {
    in.bias_sums[plane] = sums.first;
    in.scale_sums[plane] = sums.second;
  }
};

/// gx = weight rstd (g - mean(g) - standardised mean(g standardised)), means over the plane.
struct InputGradient {
  NormReluPoolGradient in;

  RETORT_HD std::int64_t size() const {
    return in.forward.size.planes() * in.forward.size.pixels();
  }
  RETORT_HD void operator()(std::int64_t index) const {
    const std::int64_t pixels = in.forward.size.pixels();
    const std::int64_t plane = index / pixels;
    const std::int64_t pixel = index % pixels;
    const float value = in.forward.standardised(plane, pixel);
    const float g = in.before_relu(plane, pixel, value);
    const float along = (in.bias_sums[plane] + value * in.scale_sums[plane]) / float(pixels);
    in.gx[index] =
        in.forward.weight[plane % in.forward.size.channels] * in.forward.rstd[plane] * (g - along);
  }
};

/// Over the images, in their order: the same bits every time.
struct ChannelGradients {
  NormReluPoolGradient in;

  RETORT_HD std::int64_t size() const { return in.forward.size.channels; }
  RETORT_HD void operator()(std::int64_t channel) const {
    Sums sum{0, 0};
    for (std::int64_t n = 0; n < in.forward.size.images; ++n) {
      const std::int64_t plane = n * in.forward.size.channels + channel;
      sum = sum + Sums{in.bias_sums[plane], in.scale_sums[plane]};
    }
    in.gbias[channel] = sum.first;
    in.gweight[channel] = sum.second;
  }
};

template <class Grid>
void run(const Grid& grid, const NormReluPool& task) {
  grid.rows(PlaneMean{task});
  grid.rows(PlaneDeviation{task});
  grid.each(PooledOutput{task});
}

template <class Grid>
void run(const Grid& grid, const NormReluPoolGradient& task) {
  grid.rows(PlaneGradientSums{task});
  if (task.gx != nullptr) grid.each(InputGradient{task});
  if (task.gweight != nullptr) grid.each(ChannelGradients{task});
}

}  // namespace retort::kernels::cuda
