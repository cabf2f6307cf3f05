#include "lib/augment/mix.h"

#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::augment {
namespace {

using data::Mix;
using data::PixelBox;

constexpr double kMixUpAlpha = 0.8;

struct Span {
  std::int64_t begin = 0;
  std::int64_t length = 0;
};

Span clipped_span(std::int64_t size, double side_share, std::int64_t center) {
  const auto half = std::int64_t(double(size) * side_share) / 2;
  const std::int64_t begin = std::max<std::int64_t>(0, center - half);
  return {begin, std::min(size, center + half) - begin};
}

}  // namespace

PixelBox cutmix_box(double lambda, std::int64_t center_row, std::int64_t center_col,
                    data::ImageSize image) {
  const double side_share = std::sqrt(1 - lambda);
  const Span rows = clipped_span(image.height, side_share, center_row);
  const Span cols = clipped_span(image.width, side_share, center_col);
  return {rows.begin, cols.begin, rows.length, cols.length};
}

double draw_symmetric_beta(double alpha, Rng& rng) {
  if (!(alpha > 0 && alpha <= 1)) {
    throw ConfigError(str("Beta distribution: expected a parameter in 0 .. 1, found ", alpha));
  }
  if (alpha == 1) return rng.uniform();
  // Johnk 1964: two powers of uniforms, given that they sum to at most 1.
  while (true) {
    const double x = std::pow(rng.uniform(), 1 / alpha);
    const double y = std::pow(rng.uniform(), 1 / alpha);
    if (x + y > 0 && x + y <= 1) return x / (x + y);
  }
}

Mix draw_mix(Mix::Kind kind, std::int64_t count, data::ImageSize image, const Rng& rng) {
  Mix mix;
  mix.kind = kind;
  if (kind == Mix::Kind::None) return mix;
  Rng lambda = rng.child("lambda");
  mix.lambda =
      double(float(draw_symmetric_beta(kind == Mix::Kind::MixUp ? kMixUpAlpha : 1, lambda)));
  mix.partner = rng.child("partner").permutation(count);
  if (kind == Mix::Kind::CutMix) {
    Rng center = rng.child("center");
    const std::int64_t row = center.integer(image.height);
    const std::int64_t col = center.integer(image.width);
    mix.box = cutmix_box(mix.lambda, row, col, image);
  }
  return mix;
}

Tensor apply_mix(const Mix& mix, const Tensor& images) {
  if (mix.kind == Mix::Kind::None) return images;
  expect_shape(images, {std::int64_t(mix.partner.size()), -1, -1, -1}, "images to mix");
  if (!lies_inside(mix.box, {images.size(2), images.size(3)})) {
    throw ConfigError(str("images to mix: expected a box inside of [", images.size(2), ", ",
                          images.size(3), "], found ", box_text(mix.box)));
  }
  const Tensor partner = at::tensor(mix.partner, at::kLong).to(images.device());
  if (mix.kind == Mix::Kind::CutMix) return paste_partners(images, partner, mix.box);
  return images * mix.lambda + images.index_select(0, partner) * (1 - mix.lambda);
}

Tensor paste_partners(const Tensor& images, const Tensor& partner, const PixelBox& box) {
  const auto inside = [&](const Tensor& x) {
    return x.narrow(2, box.top, box.height).narrow(3, box.left, box.width);
  };
  Tensor mixed = images.clone();
  inside(mixed).copy_(inside(images).index_select(0, partner.to(images.device())));
  return mixed;
}

}  // namespace retort::augment
