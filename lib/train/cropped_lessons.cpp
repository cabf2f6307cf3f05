#include "lib/train/cropped_lessons.h"

#include <utility>

namespace retort::train {

CroppedLessons::CroppedLessons(std::unique_ptr<const Lessons> whole, augment::ViewPolicy view)
    : whole_(std::move(whole)), view_(view) {}

Lessons::Epoch CroppedLessons::epoch(std::int64_t epoch, const Rng& rng) const {
  return [this, whole = whole_->epoch(epoch, rng), rng](std::int64_t step) {
    Lesson lesson = whole(step);
    const Tensor& images = lesson.images;
    const data::ImageSize size{images.size(2), images.size(3)};
    const auto views =
        augment::draw_views(view_, images.size(0), size, rng.child("step", step).child("view"));
    lesson.images = augment::apply_views(views, images, size);
    return lesson;
  };
}

}  // namespace retort::train
