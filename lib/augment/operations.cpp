#include "lib/augment/operations.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "lib/augment/device_operations.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::augment {
namespace {

using Doubles = std::vector<double>;
using Integers = std::vector<std::int64_t>;

template <class Value>
void expect_values(const std::vector<Value>& values, const Tensor& x, const char* name) {
  const auto found = std::int64_t(values.size());
  if (found == 1 || (found == x.size(0) && found > 0)) return;
  throw ConfigError(str("augmentation: ", name, " was drawn for ", found,
                        " samples, found a batch of ", x.size(0)));
}

template <class Value>
bool all_are(const std::vector<Value>& values, Value value) {
  return std::all_of(values.begin(), values.end(), [&](Value v) { return v == value; });
}

/// [n,1,1,1] in the dtype and on the device of x.
Tensor column(const Doubles& values, const Tensor& x) {
  return at::tensor(values, at::kDouble).to(x.options()).view({-1, 1, 1, 1});
}

template <class Map>
Doubles mapped(const Doubles& values, Map&& map) {
  Doubles out(values.size());
  std::transform(values.begin(), values.end(), out.begin(), map);
  return out;
}

/// center + factor * (x - center)
Tensor stretch(const Tensor& center, const Tensor& x, const Doubles& factors) {
  if (factors.size() == 1) return at::lerp(center, x, factors[0]);
  return at::lerp(center, x, column(factors, x));
}

Tensor color(const Strategy& s, const Draw& d, const Tensor& images) {
  expect_values(d.brightness, images, "brightness");
  expect_values(d.saturation, images, "saturation");
  expect_values(d.contrast, images, "contrast");
  const Doubles shift = mapped(d.brightness, [&](double u) { return (u - 0.5) * s.brightness; });
  const Doubles vivid = mapped(d.saturation, [&](double u) { return u * s.saturation; });
  const Doubles contrast =
      mapped(d.contrast, [&](double u) { return 1 + s.contrast * (2 * u - 1); });
  if (Tensor y = color_on_device(images, shift, vivid, contrast); y.defined()) return y;
  Tensor x = images;
  if (shift.size() > 1) {
    x = x + column(shift, x);
  } else if (shift[0] != 0) {
    x = x + shift[0];
  }
  // A gray image is its own mean over the channels, so its saturation is the identity.
  if (x.size(1) > 1 && !all_are(vivid, 1.0)) x = stretch(x.mean(1, true), x, vivid);
  if (!all_are(contrast, 1.0)) x = stretch(x.mean({1, 2, 3}, true), x, contrast);
  return x;
}

/// Zero outside, so the clamped index points at a border of zeros that is added first.
Tensor crop_per_sample(const Tensor& x, const Integers& rows, const Integers& cols) {
  const std::int64_t height = x.size(2);
  const std::int64_t width = x.size(3);
  const auto positions = [](const Integers& shifts, std::int64_t side) {
    return (at::tensor(shifts, at::kLong).unsqueeze(1) + at::arange(1, side + 1, at::kLong))
        .clamp(0, side + 1);  // [N,side], in coordinates with the border
  };
  const auto n = std::size_t(x.size(0));
  const Tensor row = positions(rows.size() == 1 ? Integers(n, rows[0]) : rows, height);
  const Tensor col = positions(cols.size() == 1 ? Integers(n, cols[0]) : cols, width);
  const Tensor index = (row.unsqueeze(2) * (width + 2) + col.unsqueeze(1))
                           .view({x.size(0), 1, height * width})
                           .to(x.device())
                           .expand({-1, x.size(1), -1});
  const Tensor bordered = at::constant_pad_nd(x, {1, 1, 1, 1}).flatten(2);
  return bordered.gather(2, index).view(x.sizes());
}

Tensor crop(const Draw& d, const Tensor& x) {
  expect_values(d.shift_row, x, "shift_row");
  expect_values(d.shift_col, x, "shift_col");
  if (all_are(d.shift_row, std::int64_t{0}) && all_are(d.shift_col, std::int64_t{0})) return x;
  if (Tensor y = crop_on_device(x, d.shift_row, d.shift_col); y.defined()) return y;
  if (d.shift_row.size() > 1 || d.shift_col.size() > 1) {
    return crop_per_sample(x, d.shift_row, d.shift_col);
  }
  const std::int64_t down = std::clamp(d.shift_row[0], -x.size(2), x.size(2));
  const std::int64_t right = std::clamp(d.shift_col[0], -x.size(3), x.size(3));
  return at::constant_pad_nd(x, {-right, right, -down, down});
}

/// [n,side] bool: inside the erased span of each sample.
Tensor erased_span(const Integers& centers, std::int64_t side, std::int64_t erased) {
  const Tensor first = at::tensor(centers, at::kLong).unsqueeze(1) - erased / 2;
  const Tensor position = at::arange(side, at::kLong);
  return (position >= first) & (position < first + erased);
}

Tensor cutout(const Strategy& s, const Draw& d, const Tensor& x) {
  expect_values(d.center_row, x, "center_row");
  expect_values(d.center_col, x, "center_col");
  const std::int64_t height = x.size(2);
  const std::int64_t width = x.size(3);
  const std::int64_t down = rounded_share(height, s.cutout_ratio);
  const std::int64_t across = rounded_share(width, s.cutout_ratio);
  if (Tensor y = cutout_on_device(x, d.center_row, d.center_col, down, across); y.defined()) {
    return y;
  }
  const Tensor rows = erased_span(d.center_row, height, down);
  const Tensor cols = erased_span(d.center_col, width, across);
  const Tensor kept = (rows.unsqueeze(2) & cols.unsqueeze(1)).logical_not();
  return x * kept.unsqueeze(1).to(x.options());
}

Tensor flip(const Draw& d, const Tensor& x) {
  expect_values(d.flip, x, "flip");
  if (d.flip.size() == 1 && !(d.flip[0] < 0.5)) return x;
  if (Tensor y = flip_on_device(x, d.flip); y.defined()) return y;
  if (d.flip.size() == 1) return x.flip(3);
  const Tensor mirrored = (at::tensor(d.flip, at::kDouble) < 0.5).to(x.device());
  return at::where(mirrored.view({-1, 1, 1, 1}), x.flip(3), x);
}

/// Per sample, the 2x2 matrix from output to input coordinates in [-1,1].
struct Linear {
  Doubles xx, xy;
  Doubles yx, yy;
};

/// Coordinates of the `side` pixel centres in [-1,1]; float64.
Tensor coordinates(std::int64_t side, bool align_corners) {
  const Tensor pixel = at::arange(side, at::kDouble);
  if (!align_corners) return (2 * pixel + 1) / double(side) - 1;
  if (side == 1) return pixel;  // one pixel lies in the middle
  return 2 * pixel / double(side - 1) - 1;
}

/// Bilinear sampling with zeros outside.
Tensor resample(const Tensor& x, const Linear& m, bool align_corners) {
  const std::int64_t height = x.size(2);
  const std::int64_t width = x.size(3);
  const Tensor across = coordinates(width, align_corners).view({1, 1, width});
  const Tensor down = coordinates(height, align_corners).view({1, height, 1});
  const auto combine = [&](const Doubles& a, const Doubles& b) {
    return at::tensor(a, at::kDouble).view({-1, 1, 1}) * across +
           at::tensor(b, at::kDouble).view({-1, 1, 1}) * down;
  };
  const Tensor grid = at::stack({combine(m.xx, m.xy), combine(m.yx, m.yy)}, 3).to(x.options());
  constexpr std::int64_t kBilinear = 0;
  constexpr std::int64_t kZeros = 0;
  constexpr std::int64_t kChannelsAtOnce = 64;
  if (grid.size(0) > 1) return at::grid_sampler(x, grid, kBilinear, kZeros, align_corners);
  // One grid for all: samples become channels, so that positions and weights are computed once for
  // many. Not for all of them: a block of channels should stay in the cache.
  std::int64_t together = std::max(std::int64_t{1}, kChannelsAtOnce / x.size(1));
  while (x.size(0) % together != 0) --together;
  const std::int64_t parts = x.size(0) / together;
  const Tensor merged = x.reshape({parts, together * x.size(1), height, width});
  return at::grid_sampler(merged, grid.expand({parts, -1, -1, -1}), kBilinear, kZeros,
                          align_corners)
      .reshape(x.sizes());
}

Tensor scale(const Strategy& s, const Draw& d, const Tensor& x) {
  expect_values(d.scale_x, x, "scale_x");
  expect_values(d.scale_y, x, "scale_y");
  if (all_are(d.scale_x, 1.0) && all_are(d.scale_y, 1.0)) return x;
  if (Tensor y = scale_on_device(x, d.scale_x, d.scale_y); y.defined()) return y;
  const Doubles zeros_x(d.scale_x.size());
  const Doubles zeros_y(d.scale_y.size());
  return resample(x, {d.scale_x, zeros_y, zeros_x, d.scale_y}, s.align_corners);
}

Tensor rotate(const Strategy& s, const Draw& d, const Tensor& x) {
  expect_values(d.angle, x, "angle");
  if (all_are(d.angle, 0.0)) return x;
  if (Tensor y = rotate_on_device(x, d.angle, s.align_corners); y.defined()) return y;
  const Doubles cosine = mapped(d.angle, [](double t) { return std::cos(t); });
  const Doubles sine = mapped(d.angle, [](double t) { return std::sin(t); });
  const Doubles minus_sine = mapped(sine, [](double v) { return -v; });
  return resample(x, {cosine, minus_sine, sine, cosine}, s.align_corners);
}

}  // namespace

std::int64_t rounded_share(std::int64_t side, double ratio) {
  return std::int64_t(std::floor(ratio * double(side) + 0.5));
}

Tensor apply_operation(const Strategy& strategy, const Draw& draw, Operation op, const Tensor& x) {
  switch (op) {
    case Operation::Color:
      return color(strategy, draw, x);
    case Operation::Crop:
      return crop(draw, x);
    case Operation::Cutout:
      return cutout(strategy, draw, x);
    case Operation::Flip:
      return flip(draw, x);
    case Operation::Scale:
      return scale(strategy, draw, x);
    case Operation::Rotate:
      return rotate(strategy, draw, x);
  }
  throw ConfigError("augmentation: not an operation");
}

}  // namespace retort::augment
