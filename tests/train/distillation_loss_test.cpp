#include "lib/train/distillation_loss.h"

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;

TEST_CASE("the distillation loss is zero for equal predictions and passes the gradient check",
          "[train][distillation]") {
  const Tensor teacher = Rng(1).normal_tensor({4, 6}).mul(3).to(at::kDouble);
  const Tensor student = Rng(2).normal_tensor({4, 6}).to(at::kDouble);
  for (const double temperature : {1.0, 4.0, 20.0}) {
    // A constant added to all logits of an image predicts the same.
    CHECK(std::abs(train::distillation_loss(teacher + 2, teacher, temperature).item<double>()) <
          1e-12);
    CHECK(train::distillation_loss(student, teacher, temperature).item<double>() > 0);
    CHECK(testing::direction_error(
              [&](const Tensor& t) { return train::distillation_loss(t, teacher, temperature); },
              student) < 1e-6);
  }
}

TEST_CASE("the distillation loss refuses what does not fit", "[train][distillation]") {
  const Tensor logits = at::zeros({2, 3});
  CHECK_THROWS_WITH_TEXT(train::distillation_loss(logits, at::zeros({2, 4}), 1), ConfigError,
                         "logits of the teacher");
  CHECK_THROWS_WITH_TEXT(train::distillation_loss(logits, logits, 0), ConfigError,
                         "a positive number, found 0");
}
