#include "tests/bench/check.h"

#include <algorithm>
#include <tuple>

#include "lib/core/str.h"

namespace retort::bench {
namespace {

double whole_error(const Tensor& found, const Tensor& reference) {
  const Tensor expected = reference.to(at::kDouble);
  return ((found.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

double error_of_most_rows(const Tensor& found, const Tensor& reference) {
  const Tensor expected = reference.to(at::kDouble).flatten(1);
  const Tensor difference = found.to(at::kDouble).flatten(1) - expected;
  const Tensor relative = difference.norm(2, {1}, false) / expected.norm(2, {1}, false);
  const std::int64_t exempt = relative.numel() / 20;
  return std::get<0>(relative.sort())[relative.numel() - 1 - exempt].item<double>();
}

Errors errors_by(double (*error)(const Tensor&, const Tensor&), const Check& check) {
  return {.ours_vs_f64 = error(check.ours, check.exact.value),
          .plain_vs_f64 = error(check.plain, check.exact.value),
          .ours_vs_plain = error(check.ours, check.plain),
          .undecided = 0};
}

double undecided_part(const Exact& exact) {
  if (!exact.undecided.defined()) return 0;
  return (exact.undecided.norm() / exact.value.norm()).item<double>();
}

std::string objection(const Check& check, const std::string& of, const Errors& errors) {
  const double allowed =
      kAllowedMultiple * std::max(errors.plain_vs_f64, check.rounding) + errors.undecided;
  // Not `ours > allowed`, which lets NaN pass.
  if (errors.ours_vs_f64 <= allowed) return {};
  return str("the ", of, " is off float64's by ", errors.ours_vs_f64, " (relative), allowed are ",
             allowed, "; plain LibTorch's is off by ", errors.plain_vs_f64);
}

}  // namespace

std::vector<Exact> bracketed(const AtThresholds& compute) {
  const auto at = compute({0, -kUndecidedBelow, kUndecidedBelow});
  std::vector<Exact> results;
  for (std::size_t i = 0; i < at[0].size(); ++i) results.push_back({at[0][i], at[1][i] - at[2][i]});
  return results;
}

const std::vector<Exact>& ExactResults::get(const std::string& key,
                                            const std::function<std::vector<Exact>()>& compute) {
  const auto found = known_.find(key);
  return found != known_.end() ? found->second : known_.emplace(key, compute()).first->second;
}

Errors errors_of(const Check& check) {
  Errors errors = errors_by(check.by_row ? error_of_most_rows : whole_error, check);
  errors.undecided = undecided_part(check.exact);
  return errors;
}

std::string objection(const Check& check) {
  Errors whole = errors_by(whole_error, check);
  whole.undecided = undecided_part(check.exact);
  const std::string text = objection(check, check.of, whole);
  if (!text.empty() || !check.by_row) return text;
  return objection(check, check.of + " in 19 rows of 20", errors_by(error_of_most_rows, check));
}

}  // namespace retort::bench
