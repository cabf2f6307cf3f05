#pragma once
// What students of teachers see: views of a set's images, as they were recorded or drawn anew.

#include <cstdint>
#include <functional>
#include <memory>

#include "lib/augment/augment.h"
#include "lib/augment/views.h"
#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/data/recorded_views.h"

namespace retort::train {

/// One mini-batch.
struct StudentView {
  Tensor rows;    ///< int64 [n], which of the images
  Tensor plain;   ///< [n,C,H,W] as they are
  Tensor images;  ///< [n,C,H,W] viewed and mixed
  data::Mix mix;  ///< how they were mixed
  Tensor values;  ///< [n,K] float16 that was recorded for exactly these images; undefined: nothing
};

/// Share of an image's own in its mixed one: CutMix counts the pixels that stay.
double own_share(const data::Mix& mix, data::ImageSize image);

/// All mini-batches of a training.
class StudentViews {
 public:
  /// Mini-batch 0, 1, ... of an epoch.
  using Epoch = std::function<StudentView(std::int64_t step)>;

  virtual ~StudentViews() = default;
  virtual std::int64_t steps_per_epoch() const = 0;
  /// @param rng of the epoch
  virtual Epoch epoch(std::int64_t epoch, const Rng& rng) const = 0;
};

/// The views of a record. In order epoch e takes the batches of label epoch e; from a pool an epoch
/// draws as many whole batches as fit into the images, with replacement or without.
/// @param images [N,C,H,W] decoded ones of the set, as they were labelled
/// @param epochs of the training  @param batch_size of its steps: the record's, or all images
/// @throws ConfigError for images, epochs or a batch size that the record is not for
std::unique_ptr<const StudentViews> replayed_views(
    std::shared_ptr<const data::RecordedViews> record, Tensor images, std::int64_t epochs,
    std::int64_t batch_size);

/// How views are drawn: patches, augmentation, crop and mirror, mix, in this order.
struct ViewRecipe {
  std::int64_t batch_size = 128;  ///< the last partial one is used
  std::int64_t patches = 1;       ///< factor of shuffle_patches
  augment::Strategy augmentation = {};
  augment::ViewPolicy view = {.crop = false, .flip = false};
  data::Mix::Kind mix = data::Mix::Kind::None;
};

/// Epochs over `images` in an order of their own, from children of the epoch's stream keyed by
/// step.
/// @param images [N,C,H,W]
std::unique_ptr<const StudentViews> drawn_views(const ViewRecipe& recipe, Tensor images);

}  // namespace retort::train
