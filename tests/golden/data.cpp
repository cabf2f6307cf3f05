// Preprocessing: kornia's ZCAWhitening(eps=0.1, compute_inv=True), as trajectory matching uses it.

#include "lib/data/preprocessing.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

void check_zca(const GoldenFile& file) {
  const Tensor x = file.tensor("zca/x", at::kDouble);
  const data::ZcaMatrices fitted = data::fit_zca(x, file.number_or("zca", "eps", 0.1));
  // An eigenvalue decomposition lies between: 1e-9 instead of 1e-10.
  constexpr double kTolerance = 1e-9;
  CHECK_CLOSE(fitted.mean, file.tensor("zca/mean", at::kDouble).flatten(), kTolerance);
  CHECK_CLOSE(fitted.whiten, file.tensor("zca/transform", at::kDouble), kTolerance);
  CHECK_CLOSE(fitted.inverse, file.tensor("zca/inverse", at::kDouble), kTolerance);

  const auto preprocessing = data::Preprocessing::zca(fitted);
  for (const auto& precision : precisions(kTolerance)) {
    INFO(precision.name);
    const Tensor whitened = file.tensor("zca/whitened", precision.dtype);
    const Tensor restored = file.tensor("zca/restored", precision.dtype);
    CHECK_CLOSE(preprocessing.apply(x.to(precision.dtype)), whitened, precision.tolerance);
    CHECK_CLOSE(preprocessing.invert(whitened), restored, precision.tolerance);
  }
}

}  // namespace

void check_zca_metrics_herding(const GoldenFile& file) {
  REQUIRE((file.has("zca/x") || file.has("herding/features")));
  if (file.has("zca/x")) check_zca(file);
  if (file.has("herding/features")) check_herding(file);
  if (file.has("metrics")) file.skip("metrics", "the robustness scores have no code yet");
}

}  // namespace retort::testing::golden
