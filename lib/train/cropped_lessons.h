#pragma once
// Lessons of images that are cropped at random and enlarged again: RandomResizedCrop.

#include <memory>

#include "lib/augment/views.h"
#include "lib/train/lessons.h"

namespace retort::train {

/// The lessons of another training, every image seen by a view of its own.
class CroppedLessons final : public Lessons {
 public:
  /// @param view does not roll
  CroppedLessons(std::unique_ptr<const Lessons> whole, augment::ViewPolicy view);

  std::int64_t steps_per_epoch() const override { return whole_->steps_per_epoch(); }
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override;

 private:
  std::unique_ptr<const Lessons> whole_;
  augment::ViewPolicy view_;
};

}  // namespace retort::train
