#include "tests/bench/check.h"

#include <limits>

#include "lib/core/rng.h"
#include "tests/bench/plain_convnet.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::bench;

namespace {

/// A result of 40 rows and what float32 makes of it.
Check rounded_check() {
  const Tensor exact = Rng(1).normal_tensor({40, 50}).to(at::kDouble) * 1.1;
  return {"sum", exact.to(at::kFloat), exact.to(at::kFloat), {exact, {}}, true};
}

}  // namespace

TEST_CASE("a result as close to float64 as plain LibTorch's is accepted", "[bench]") {
  const Check check = rounded_check();
  CHECK(objection(check).empty());
  const Errors errors = errors_of(check);
  CHECK(errors.ours_vs_f64 > 0);
  CHECK(errors.ours_vs_f64 < 1e-7);
  CHECK(errors.ours_vs_plain == 0);
}

TEST_CASE("a result further from float64 than a multiple of plain LibTorch's is refused",
          "[bench]") {
  Check check = rounded_check();
  check.ours = check.ours * 1.0001;
  CHECK_THAT(objection(check), Catch::Matchers::Contains("the sum is off float64's by"));
  check.plain = check.plain * 1.0001;  // as wrong as ours
  CHECK(objection(check).empty());
}

TEST_CASE("a result that is no number is refused", "[bench]") {
  Check check = rounded_check();
  check.ours = check.ours.clone();
  check.ours[3][4] = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(objection(check).empty());
}

TEST_CASE("undecided ReLUs excuse their own rows only", "[bench]") {
  Check check = rounded_check();
  check.exact.undecided = at::zeros_like(check.exact.value);
  check.exact.undecided[5] = 0.01 * check.exact.value[5];
  check.ours = check.ours.clone();
  check.ours[5].mul_(1.01);
  CHECK(objection(check).empty());
  check.ours = rounded_check().ours * 1.00003;  // the whole is within what row 5 leaves undecided
  CHECK_THAT(objection(check), Catch::Matchers::Contains("in 19 rows of 20"));
}

TEST_CASE("what is undecided is the gradient of ReLUs next to zero", "[bench]") {
  const Tensor x = at::tensor({-1.0, -1e-7, 1e-7, 2.0}, at::kDouble);
  const auto exact = bracketed([&](const std::vector<double>& thresholds) {
    std::vector<Tensors> results;
    for (const double t : thresholds) {
      const Tensor leaf = x.clone().requires_grad_();
      plain_relu(leaf, t).sum().backward();
      results.push_back({leaf.grad()});
    }
    return results;
  });
  CHECK_CLOSE(exact[0].value, at::tensor({0.0, 0.0, 1.0, 1.0}, at::kDouble), 0);
  CHECK_CLOSE(exact[0].undecided, at::tensor({0.0, 1.0, 1.0, 0.0}, at::kDouble), 0);
}

TEST_CASE("exact results are computed once per key", "[bench]") {
  ExactResults results;
  int calls = 0;
  const auto compute = [&] {
    ++calls;
    return std::vector<Exact>{{at::ones({1}), {}}};
  };
  results.get("a", compute);
  results.get("a", compute);
  CHECK(calls == 1);
  results.get("b", compute);
  CHECK(calls == 2);
}
