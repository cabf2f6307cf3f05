#include "lib/synth/picture.h"

#include <algorithm>

#include "lib/core/str.h"
#include "lib/synth/parametrization.h"
#include "lib/vision/vision.h"

namespace retort::synth {

Pixels to_pixels(const Tensor& images, const data::Preprocessing& preprocessing) {
  const Tensor unit = preprocessing.invert(images.detach());
  // Rounding to the nearest of 255 steps is not clipping: half a step of slack.
  const Tensor outside = (unit < -0.5 / 255).logical_or(unit > 1 + 0.5 / 255);
  return {(unit.clamp(0, 1) * 255).round().to(at::kByte),
          unit.numel() == 0 ? 0.0 : outside.to(at::kDouble).mean().item<double>()};
}

namespace {

std::string class_name(const data::SyntheticSet& set, std::int64_t c) {
  const auto& names = set.provenance.class_names;
  return std::size_t(c) < names.size() ? names[std::size_t(c)] : str("class ", c);
}

/// What is added to images, around mid-gray; uint8 [N,C,H,W].
Tensor difference_pixels(const Tensor& added, const data::Preprocessing& preprocessing) {
  const Tensor nothing = preprocessing.invert(at::zeros_like(added));
  const Tensor unit = preprocessing.invert(added) - nothing + 0.5;
  return (unit.clamp(0, 1) * 255).round().to(at::kByte);
}

}  // namespace

Picture draw_set(const data::SyntheticSet& set, const PictureOptions& options,
                 const data::ImageDataset* dataset) {
  Tensor images = set.images;
  Tensor classes = set.class_index;
  if (options.decoded) {
    const data::LabelledImages decoded = decode(set);
    images = decoded.images;
    classes = data::hard_classes(decoded.labels);
  }
  const Pixels pixels = to_pixels(images, set.preprocessing);
  std::vector<vision::GridRow> rows;
  for (std::int64_t c = 0; c < set.num_classes(); ++c) {
    Tensor members = at::nonzero(classes == c).flatten();
    if (options.per_class > 0) {
      members = members.slice(0, 0, std::min(options.per_class, members.numel()));
    }
    Tensor row = pixels.values.index_select(0, members);
    if (dataset != nullptr && options.real > 0) {
      const Tensor& own = dataset->class_indices(c);
      const Tensor some = own.slice(0, 0, std::min(options.real, own.numel()));
      const Tensor gap = at::full({1, row.size(1), row.size(2), row.size(3)}, 255, at::kByte);
      row = at::cat({row, gap, dataset->pixels(data::Split::Train, some)});
    }
    rows.push_back({class_name(set, c), row});
  }
  if (!options.decoded) {
    for (const auto& [name, values] : set.parameters) {
      const std::int64_t most = options.per_class > 0 ? options.per_class : values.size(0);
      rows.push_back({name, difference_pixels(values.slice(0, 0, most), set.preprocessing)});
    }
  }
  vision::GridOptions grid;
  grid.title = options.title;
  return {vision::image_grid(rows, grid), pixels.clipped_fraction};
}

}  // namespace retort::synth
