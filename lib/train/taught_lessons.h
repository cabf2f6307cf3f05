#pragma once
// Lessons by teachers: views of images with the logits that teachers give to them.

#include <cstdint>
#include <functional>
#include <memory>

#include "lib/train/committee.h"
#include "lib/train/lessons.h"
#include "lib/train/student_views.h"

namespace retort::train {

/// What teachers say of a view.  @return logits [n,K]; may run on several threads at once
using Teaching = std::function<Tensor(const StudentView&)>;

/// What was recorded. Probabilities become logits that are these probabilities at the temperature
/// of the record.
Teaching recorded_teaching(const data::ViewsInfo& info);
/// What the committee says when it sees the view itself.
Teaching asked_teaching(std::shared_ptr<const Labeler> labeler);
/// One label per image; of a mixed one the logits are interpolated (INFER: Zhang et al., ICLR
/// 2025).
/// @param logits [N,K]
Teaching interpolated_teaching(Tensor logits);

class TaughtLessons final : public Lessons {
 public:
  struct What {
    Tensor classes;  ///< int64 [N] of the images, on the CPU
    std::int64_t num_classes = 0;
    Teaching teaching = nullptr;  ///< null: students learn classes alone, mixed by own_share
    /// Of the student: CrossEntropy takes the softmax of logits.
    StudentLoss loss = {};
    bool mixed_classes = false;  ///< beside logits: classes of both images; else an image's own
  };

  TaughtLessons(std::unique_ptr<const StudentViews> views, What what);

  std::int64_t steps_per_epoch() const override { return views_->steps_per_epoch(); }
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override;

 private:
  Lesson lesson(const StudentView& view) const;
  Targets targets(const StudentView& view, const Tensor& classes) const;

  std::unique_ptr<const StudentViews> views_;
  What what_;
};

}  // namespace retort::train
