#include "lib/train/cutmix.h"

#include <algorithm>
#include <cmath>

namespace retort::train {
namespace {

struct Span {
  std::int64_t begin = 0;
  std::int64_t length = 0;
};

// The reference truncates twice: the side to whole pixels, then its half.
Span clipped_span(std::int64_t size, double side_share, std::int64_t center) {
  const auto half = std::int64_t(double(size) * side_share) / 2;
  const std::int64_t begin = std::max<std::int64_t>(0, center - half);
  return {begin, std::min(size, center + half) - begin};
}

}  // namespace

CutMix draw_cutmix(std::int64_t count, std::int64_t height, std::int64_t width, Rng& rng) {
  const double side_share = std::sqrt(1 - rng.uniform());
  const Span rows = clipped_span(height, side_share, rng.integer(height));
  const Span cols = clipped_span(width, side_share, rng.integer(width));
  CutMix mix;
  mix.partner = rng.permutation_tensor(count);
  mix.row = rows.begin;
  mix.col = cols.begin;
  mix.height = rows.length;
  mix.width = cols.length;
  mix.kept = 1 - double(rows.length * cols.length) / double(height * width);
  return mix;
}

Tensor mix_images(const CutMix& mix, const Tensor& images) {
  const auto box = [&](const Tensor& x) {
    return x.narrow(2, mix.row, mix.height).narrow(3, mix.col, mix.width);
  };
  Tensor mixed = images.clone();
  box(mixed).copy_(box(images).index_select(0, mix.partner.to(images.device())));
  return mixed;
}

Tensor mix_targets(const CutMix& mix, const Tensor& targets) {
  return targets * mix.kept +
         targets.index_select(0, mix.partner.to(targets.device())) * (1 - mix.kept);
}

}  // namespace retort::train
