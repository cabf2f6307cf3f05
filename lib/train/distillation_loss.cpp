#include "lib/train/distillation_loss.h"

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::train {

Tensor distillation_loss(const Tensor& student, const Tensor& teacher, double temperature) {
  expect_shape(student, {-1, -1}, "logits of the student");
  expect_shape(teacher, {student.size(0), student.size(1)}, "logits of the teacher");
  if (!(temperature > 0)) {
    throw ConfigError(str("temperature: expected a positive number, found ", temperature));
  }
  const Tensor log_p = (teacher / temperature).log_softmax(1);
  const Tensor log_q = (student / temperature).log_softmax(1);
  return (log_p.exp() * (log_p - log_q)).sum() / double(student.size(0));
}

}  // namespace retort::train
