#include "lib/train/cutmix.h"

#include "lib/augment/mix.h"

namespace retort::train {

CutMix draw_cutmix(std::int64_t count, std::int64_t height, std::int64_t width, Rng& rng) {
  const double lambda = rng.uniform();
  const std::int64_t center_row = rng.integer(height);
  const std::int64_t center_col = rng.integer(width);
  const data::PixelBox box = augment::cutmix_box(lambda, center_row, center_col, {height, width});
  CutMix mix;
  mix.partner = rng.permutation_tensor(count);
  mix.row = box.top;
  mix.col = box.left;
  mix.height = box.height;
  mix.width = box.width;
  mix.kept = 1 - double(box.height * box.width) / double(height * width);
  return mix;
}

Tensor mix_images(const CutMix& mix, const Tensor& images) {
  return augment::paste_partners(images, mix.partner, {mix.row, mix.col, mix.height, mix.width});
}

Tensor mix_targets(const CutMix& mix, const Tensor& targets) {
  return targets * mix.kept +
         targets.index_select(0, mix.partner.to(targets.device())) * (1 - mix.kept);
}

}  // namespace retort::train
