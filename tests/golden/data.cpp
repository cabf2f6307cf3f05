// Preprocessing: kornia's ZCAWhitening(eps=0.1, compute_inv=True), as trajectory matching uses it;
// the scores of DD-Ranking.

#include "experiments/dd_ranking/scores.h"
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

using Score = double (*)(const std::vector<double>& row);

/// Rows are four accuracies, weight, score. The code has no factor 100.
void check_scores(const GoldenFile& file, const std::string& table, Score score) {
  const Tensor rows = file.tensor("metrics/" + table, at::kDouble);
  REQUIRE(rows.size(1) == 6);
  for (const Tensor& row : rows.unbind(0)) {
    const Tensor contiguous = row.contiguous();
    const auto* values = contiguous.const_data_ptr<double>();
    CHECK(score({values, values + 5}) == Approx(100 * values[5]).epsilon(1e-12));
  }
}

void check_metrics(const GoldenFile& file) {
  using namespace experiments::dd_ranking;
  check_scores(file, "lrs", [](const std::vector<double>& row) {
    return LabelAccuracies{row[0], row[1], row[2], row[3]}.score(row[4]);
  });
  check_scores(file, "ars", [](const std::vector<double>& row) {
    return AugmentationAccuracies{row[0], row[1], row[2], row[3]}.score(row[4]);
  });
}

}  // namespace

void check_zca_metrics_herding(const GoldenFile& file) {
  REQUIRE((file.has("zca/x") || file.has("herding/features")));
  if (file.has("zca/x")) check_zca(file);
  if (file.has("herding/features")) check_herding(file);
  if (file.has("metrics")) check_metrics(file);
}

}  // namespace retort::testing::golden
