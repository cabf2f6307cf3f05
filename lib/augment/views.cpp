#include "lib/augment/views.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "lib/augment/mix.h"
#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::augment {
namespace {

using data::ImageSize;
using data::PixelBox;

constexpr int kTries = 10;

void expect_policy(const ViewPolicy& p) {
  if (!(p.smallest_area > 0 && p.smallest_area <= p.largest_area && p.largest_area <= 1)) {
    throw ConfigError(str("views: expected crop areas 0 < smallest <= largest <= 1, found ",
                          p.smallest_area, " and ", p.largest_area));
  }
  if (!(p.narrowest > 0 && p.narrowest <= p.widest)) {
    throw ConfigError(str("views: expected crop ratios 0 < narrowest <= widest, found ",
                          p.narrowest, " and ", p.widest));
  }
  if (p.roll_from > p.roll_to) {
    throw ConfigError(
        str("views: expected rolls from .. to in order, found ", p.roll_from, " .. ", p.roll_to));
  }
}

// To even where it is a tie, like the reference's round().
std::int64_t rounded(double value) { return std::int64_t(std::nearbyint(value)); }

PixelBox largest_centered_crop(const ViewPolicy& policy, ImageSize image) {
  PixelBox box{0, 0, image.height, image.width};
  const double ratio = double(image.width) / double(image.height);
  if (ratio < policy.narrowest) {
    box.height = std::min(image.height, rounded(double(image.width) / policy.narrowest));
  } else if (ratio > policy.widest) {
    box.width = std::min(image.width, rounded(double(image.height) * policy.widest));
  }
  box.top = (image.height - box.height) / 2;
  box.left = (image.width - box.width) / 2;
  return box;
}

void expect_crop(const PixelBox& crop, ImageSize image, ImageSize canvas) {
  if (crop.height < 1 || crop.width < 1 || !lies_inside(crop, image)) {
    throw ConfigError(str("views: expected a crop inside of ", image.height, " x ", image.width,
                          " pixels, found ", box_text(crop)));
  }
  if (crop.height > canvas.height || crop.width > canvas.width) {
    throw ConfigError(str("views: crops are enlarged, never reduced: expected at most ",
                          canvas.height, " x ", canvas.width, " pixels, found ", box_text(crop)));
  }
}

void expect_images(const Tensor& images) {
  expect_shape(images, {-1, -1, -1, -1}, "images to view");
  if (images.is_floating_point()) return;
  throw ConfigError(str("images to view: expected floating point, found ", images.dtype()));
}

ImageSize size_of(const Tensor& images) { return {images.size(2), images.size(3)}; }

bool is_whole(const PixelBox& crop, ImageSize image) {
  return crop == PixelBox{0, 0, image.height, image.width};
}

/// For every position of one axis of the canvas two positions in the image, and the weight of the
/// second.
struct Taps {
  Tensor first, second;  // int64 [N,side]
  Tensor weight;         // [N,side]
};

/// One axis of the crops of a batch.
class TapTable {
 public:
  TapTable(std::size_t count, std::int64_t side)
      : side_(side),
        first_(at::empty({std::int64_t(count), side}, at::kLong)),
        second_(at::empty_like(first_)),
        weight_(at::empty(first_.sizes(), at::kDouble)) {}

  /// @param reversed the canvas is filled from its far end
  void set(std::size_t row, std::int64_t begin, std::int64_t length, bool reversed) {
    auto* first = first_.data_ptr<std::int64_t>() + std::int64_t(row) * side_;
    auto* second = second_.data_ptr<std::int64_t>() + std::int64_t(row) * side_;
    auto* weight = weight_.data_ptr<double>() + std::int64_t(row) * side_;
    const double step = double(length) / double(side_);
    for (std::int64_t i = 0; i < side_; ++i) {
      const double source = std::max(0.0, step * (double(i) + 0.5) - 0.5);
      const auto low = std::int64_t(source);
      const std::int64_t to = reversed ? side_ - 1 - i : i;
      first[to] = begin + low;
      second[to] = begin + std::min(low + 1, length - 1);
      weight[to] = source - double(low);
    }
  }

  Taps taps(const Tensor& like) const {
    return {first_.to(like.device()), second_.to(like.device()), weight_.to(like.options())};
  }

 private:
  std::int64_t side_;
  Tensor first_, second_, weight_;
};

/// @param x [N,C,H,W]  @param dim 2 or 3, the axis that is sampled  @return that axis as in the
/// taps
Tensor sample(const Tensor& x, const Taps& taps, std::int64_t dim) {
  const auto along = [&](const Tensor& values) {
    const std::int64_t n = values.size(0);
    const std::int64_t side = values.size(1);
    return dim == 2 ? values.view({n, 1, side, 1}) : values.view({n, 1, 1, side});
  };
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[std::size_t(dim)] = taps.first.size(1);
  const auto at_positions = [&](const Tensor& index) {
    return x.gather(dim, along(index).expand(shape));
  };
  return at::lerp(at_positions(taps.first), at_positions(taps.second), along(taps.weight));
}

/// Crops and flips.
Tensor view_each(const data::BatchViews& views, const Tensor& images, ImageSize canvas) {
  const std::size_t count = views.crops.size();
  TapTable rows(count, canvas.height);
  TapTable cols(count, canvas.width);
  bool identity = size_of(images) == canvas;
  for (std::size_t i = 0; i < count; ++i) {
    const PixelBox& crop = views.crops[i];
    expect_crop(crop, size_of(images), canvas);
    rows.set(i, crop.top, crop.height, false);
    cols.set(i, crop.left, crop.width, views.flips[i]);
    identity = identity && is_whole(crop, canvas) && !views.flips[i];
  }
  if (identity) return images;
  return sample(sample(images, rows.taps(images), 2), cols.taps(images), 3);
}

}  // namespace

PixelBox draw_crop(const ViewPolicy& policy, ImageSize image, Rng& rng) {
  if (!policy.crop) return {0, 0, image.height, image.width};
  const double area = double(image.height * image.width);
  for (int i = 0; i < kTries; ++i) {
    const double wanted = area * rng.uniform(policy.smallest_area, policy.largest_area);
    const double ratio = std::exp(rng.uniform(std::log(policy.narrowest), std::log(policy.widest)));
    const std::int64_t width = rounded(std::sqrt(wanted * ratio));
    const std::int64_t height = rounded(std::sqrt(wanted / ratio));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    const std::int64_t top = rng.integer(image.height - height + 1);
    const std::int64_t left = rng.integer(image.width - width + 1);
    return {top, left, height, width};
  }
  return largest_centered_crop(policy, image);
}

SharedView draw_shared_view(const ViewPolicy& policy, ImageSize image, const Rng& rng) {
  expect_policy(policy);
  SharedView view;
  Rng crop = rng.child("crop");
  view.crop = draw_crop(policy, image, crop);
  view.flip = policy.flip && rng.child("flip").uniform() < 0.5;
  Rng roll = rng.child("roll");
  const std::int64_t values = policy.roll_to - policy.roll_from + 1;
  view.roll_rows = policy.roll_from + roll.integer(values);
  view.roll_cols = policy.roll_from + roll.integer(values);
  return view;
}

data::BatchViews draw_views(const ViewPolicy& policy, std::int64_t count, ImageSize image,
                            const Rng& rng) {
  expect_policy(policy);
  if (policy.roll_from != 0 || policy.roll_to != 0) {
    throw ConfigError(str("views: only a view shared by the batch is rolled, found ",
                          policy.roll_from, " .. ", policy.roll_to));
  }
  data::BatchViews views;
  const Rng crops = rng.child("crop");
  const Rng flips = rng.child("flip");
  for (std::int64_t i = 0; i < count; ++i) {
    Rng crop = crops.child(i);
    views.crops.push_back(draw_crop(policy, image, crop));
    views.flips.push_back(policy.flip && flips.child(i).uniform() < 0.5);
  }
  return views;
}

Tensor apply_view(const SharedView& view, const Tensor& images, ImageSize canvas) {
  expect_images(images);
  expect_crop(view.crop, size_of(images), canvas);
  Tensor x = images;
  if (!is_whole(view.crop, size_of(images)) || size_of(images) != canvas) {
    x = x.narrow(2, view.crop.top, view.crop.height).narrow(3, view.crop.left, view.crop.width);
    x = at::upsample_bilinear2d(x, {canvas.height, canvas.width}, /*align_corners=*/false);
  }
  if (view.flip) x = x.flip(3);
  if (view.roll_rows != 0 || view.roll_cols != 0) {
    x = x.roll({view.roll_rows, view.roll_cols}, {2, 3});
  }
  return x;
}

Tensor apply_views(const data::BatchViews& views, const Tensor& images, ImageSize canvas) {
  expect_images(images);
  const auto count = std::int64_t(views.crops.size());
  if (count != images.size(0) || views.flips.size() != views.crops.size()) {
    throw ConfigError(
        str("views: were drawn for ", count, " images, found a batch of ", images.size(0)));
  }
  return apply_mix(views.mix, view_each(views, images, canvas));
}

}  // namespace retort::augment
