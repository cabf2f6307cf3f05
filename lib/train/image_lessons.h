#pragma once
// Images of a set or a dataset with labels of their own: the usual training.

#include "lib/train/lessons.h"
#include "lib/train/supervised.h"

namespace retort::train {

/// Mirror images, augmentation, CutMix, as `options` say.
/// @param rng of the step
Lesson image_lesson(const data::LabelledImages& batch, std::int64_t num_classes,
                    const TrainOptions& options, const Rng& rng);

/// Epochs over `data` in mini-batches.
class ImageLessons final : public Lessons {
 public:
  /// `data` must outlive it.
  ImageLessons(const TrainingData& data, std::int64_t num_classes, TrainOptions options);

  std::int64_t steps_per_epoch() const override;
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override;

 private:
  const TrainingData& data_;
  std::int64_t num_classes_;
  TrainOptions options_;
};

}  // namespace retort::train
