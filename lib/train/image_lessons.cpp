#include "lib/train/image_lessons.h"

#include <algorithm>
#include <utility>

#include "lib/train/cutmix.h"

namespace retort::train {

Lesson image_lesson(const data::LabelledImages& batch, std::int64_t num_classes,
                    const TrainOptions& options, const Rng& rng) {
  Tensor images = batch.images;
  Tensor targets = target_probabilities(batch.labels, num_classes, images.scalar_type());
  if (options.mirrored) {
    images = at::cat({images, images.flip(3)});
    targets = at::cat({targets, targets});
  }
  if (!options.augmentation.operations.empty()) {
    Rng stream = rng.child("augment");
    images = augment::augment_batch(options.augmentation, images, stream);
  }
  Rng mixing = rng.child("cutmix");
  if (options.cutmix_probability > 0 && mixing.uniform() < options.cutmix_probability) {
    const CutMix mix = draw_cutmix(images.size(0), images.size(2), images.size(3), mixing);
    images = mix_images(mix, images);
    targets = mix_targets(mix, targets);
  }
  return {images, {targets, {}}, data::hard_classes(batch.labels), batch.images};
}

ImageLessons::ImageLessons(const TrainingData& data, std::int64_t num_classes, TrainOptions options)
    : data_(data), num_classes_(num_classes), options_(std::move(options)) {}

std::int64_t ImageLessons::steps_per_epoch() const {
  return (data_.size() + options_.batch_size - 1) / options_.batch_size;
}

Lessons::Epoch ImageLessons::epoch(std::int64_t /*epoch*/, const Rng& rng) const {
  const std::int64_t n = data_.size();
  const Tensor order =
      options_.shuffle ? rng.child("order").permutation_tensor(n) : at::arange(n, at::kLong);
  return [this, n, order, rng](std::int64_t step) {
    const std::int64_t begin = step * options_.batch_size;
    const std::int64_t count = std::min(options_.batch_size, n - begin);
    return image_lesson(data_.batch(order.narrow(0, begin, count)), num_classes_, options_,
                        rng.child("step", step));
  };
}

}  // namespace retort::train
