#pragma once
// Views of the decoupled methods: RandomResizedCrop, mirror, circular roll, in this order (SRe2L:
// Yin et al. 2023). While images are made, one view is drawn for the whole batch; where they are
// labelled and trained on, one per image. Drawing and applying are apart, as in augment.h.

#include <cstdint>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/data/recorded_views.h"

namespace retort::augment {

/// What is drawn from. The defaults crop and mirror.
struct ViewPolicy {
  bool crop = true;
  double smallest_area = 0.08;  ///< of the crop, over the image's
  double largest_area = 1;
  double narrowest = 3.0 / 4;  ///< width of the crop over its height
  double widest = 4.0 / 3;
  bool flip = true;            ///< mirrored or not, with equal chances
  std::int64_t roll_from = 0;  ///< pixels down and to the right, both ends included
  std::int64_t roll_to = 0;
};

/// One view for all images of a batch.
struct SharedView {
  data::PixelBox crop;
  bool flip = false;
  std::int64_t roll_rows = 0;  ///< downwards; what leaves at the bottom comes in at the top
  std::int64_t roll_cols = 0;  ///< to the right
};

/// A crop of uniform area and log-uniform ratio at a uniform place, after at most 10 tries the
/// largest centred one of an allowed ratio: a whole image if it is square.
data::PixelBox draw_crop(const ViewPolicy& policy, data::ImageSize image, Rng& rng);

/// From the children "crop", "flip" and "roll" of `rng`.
/// @throws ConfigError for a policy whose ranges are empty or out of bounds
SharedView draw_shared_view(const ViewPolicy& policy, data::ImageSize image, const Rng& rng);

/// One view per image, from the children "crop" and "flip", and in them the image's own. Without a
/// mix.
/// @throws ConfigError as draw_shared_view, and for a policy that rolls
data::BatchViews draw_views(const ViewPolicy& policy, std::int64_t count, data::ImageSize image,
                            const Rng& rng);

/// Every crop is enlarged to the canvas, bilinear between centres of pixels; then mirror and roll.
/// Differentiable in the images.
/// @param images [N,C,H,W] floating
/// @return [N,C,canvas]; `images` itself where that is the identity
/// @throws ConfigError for a crop outside of the images or larger than the canvas
Tensor apply_view(const SharedView& view, const Tensor& images, data::ImageSize canvas);

/// The same per image, then mixed. The same arguments give the same bits.
/// @throws ConfigError also for views of another batch size
Tensor apply_views(const data::BatchViews& views, const Tensor& images, data::ImageSize canvas);

}  // namespace retort::augment
