#include "lib/train/taught_lessons.h"

#include <utility>

#include "lib/train/supervised.h"

namespace retort::train {
namespace {

/// Rows of a mixed batch in the mixture of its images.  @param values [n,K]
Tensor mixed(const Tensor& values, const StudentView& view) {
  if (view.mix.kind == data::Mix::Kind::None) return values;
  const double own = own_share(view.mix, {view.images.size(2), view.images.size(3)});
  const Tensor partner = at::tensor(view.mix.partner, at::kLong).to(values.device());
  return values * own + values.index_select(0, partner) * (1 - own);
}

}  // namespace

Teaching recorded_teaching(const data::ViewsInfo& info) {
  if (info.kind == data::SoftLabels::Kind::Logit) {
    return [](const StudentView& view) { return view.values.to(at::kFloat); };
  }
  // Zero in half precision: anything smaller than its smallest number.
  constexpr double kSmallest = 1e-8;
  return [tau = info.tau0](const StudentView& view) {
    return view.values.to(at::kFloat).clamp_min(kSmallest).log() * tau;
  };
}

Teaching asked_teaching(std::shared_ptr<const Labeler> labeler) {
  return
      [labeler = std::move(labeler)](const StudentView& view) { return (*labeler)(view.images); };
}

Teaching interpolated_teaching(Tensor logits) {
  return [logits = std::move(logits)](const StudentView& view) {
    return mixed(logits.index_select(0, view.rows.to(logits.device())), view);
  };
}

TaughtLessons::TaughtLessons(std::unique_ptr<const StudentViews> views, What what)
    : views_(std::move(views)), what_(std::move(what)) {}

Lessons::Epoch TaughtLessons::epoch(std::int64_t epoch, const Rng& rng) const {
  return
      [this, views = views_->epoch(epoch, rng)](std::int64_t step) { return lesson(views(step)); };
}

Lesson TaughtLessons::lesson(const StudentView& view) const {
  const Tensor classes = what_.classes.index_select(0, view.rows);
  return {view.images, targets(view, classes), classes, view.plain};
}

Targets TaughtLessons::targets(const StudentView& view, const Tensor& classes) const {
  const auto dtype = view.images.scalar_type();
  const Tensor own = target_probabilities(data::HardLabels{classes}, what_.num_classes, dtype);
  if (!what_.teaching) return {mixed(own, view), {}};
  const Tensor logits = what_.teaching(view).to(dtype);
  switch (what_.loss.kind) {
    case StudentLoss::Kind::CrossEntropy:
      return {logits.softmax(1), {}};
    case StudentLoss::Kind::Divergence:
      return {logits, {}};
    case StudentLoss::Kind::SquaredError:
      return {logits, what_.mixed_classes ? mixed(own, view) : own};
    case StudentLoss::Kind::Retention:
      return {mixed(own, view), {}, logits};
  }
  return {};
}

}  // namespace retort::train
