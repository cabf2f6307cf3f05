#include "methods/trajectory_matching/labels.h"

namespace retort::methods::trajectory_matching {

InnerLabels hard_labels(const Tensor& classes, std::int64_t num_classes, at::ScalarType dtype) {
  return {.values = at::one_hot(classes, num_classes).to(dtype)};
}

Tensor targets_of(const InnerLabels& labels, const Tensor& rows) {
  const at::NoGradGuard no_grad;
  const Tensor chosen = labels.values.detach().index_select(0, rows.to(labels.values.device()));
  return labels.logits ? chosen.softmax(1) : chosen;
}

Tensor through_softmax(const Tensor& logits, const Tensor& gradient) {
  const Tensor q = logits.softmax(1);
  return q * (gradient - (q * gradient).sum(1, true));
}

void LogitMean::add(const Tensor& logits) {
  const at::NoGradGuard no_grad;
  const Tensor values = logits.to(at::kCPU, at::kDouble);
  const Tensor right = values.argmax(1).eq(classes_).to(at::kDouble).unsqueeze(1);
  if (networks_++ == 0) {
    dtype_ = logits.scalar_type();
    right_ = at::zeros_like(values);
    count_ = at::zeros_like(right);
    all_ = at::zeros_like(values);
  }
  right_ += right * values;
  count_ += right;
  all_ += values;
}

Tensor LogitMean::result() const {
  const at::NoGradGuard no_grad;
  const Tensor means = at::where(count_ > 0, right_ / count_.clamp_min(1),
                                 all_ / double(std::max<std::int64_t>(networks_, 1)));
  return means.to(dtype_);
}

}  // namespace retort::methods::trajectory_matching
