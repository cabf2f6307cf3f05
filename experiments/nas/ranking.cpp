#include "experiments/nas/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::experiments::nas {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const double mean_a = mean(a);
  const double mean_b = mean(b);
  double both = 0;
  double of_a = 0;
  double of_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += (a[i] - mean_a) * (b[i] - mean_b);
    of_a += (a[i] - mean_a) * (a[i] - mean_a);
    of_b += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return of_a > 0 && of_b > 0 ? both / std::sqrt(of_a * of_b) : kNone;
}

/// Between neighbours linearly. @param sorted at least one
double quantile(const std::vector<double>& sorted, double part) {
  const double place = part * double(sorted.size() - 1);
  const auto below = std::size_t(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - double(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<double> average_ranks(const Scores& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t i, std::size_t j) { return values[i] < values[j]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    // Ranks begin + 1 .. end.
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * double(begin + 1 + end);
    begin = end;
  }
  return ranks;
}

double spearman(const Scores& a, const Scores& b) {
  if (a.size() != b.size()) {
    throw Error(str("Spearman: expected equally many values, found ", a.size(), " and ", b.size()));
  }
  if (a.size() < 2) return kNone;
  return pearson(average_ranks(a), average_ranks(b));
}

Interval spearman_interval(const Scores& a, const Scores& b, Rng rng) {
  std::vector<double> found;
  std::vector<std::size_t> places(a.size());
  for (std::int64_t resample = 0; resample < kResamples && !places.empty(); ++resample) {
    for (auto& place : places) place = std::size_t(rng.integer(std::int64_t(a.size())));
    const double rho = spearman(at_places(a, places), at_places(b, places));
    if (std::isfinite(rho)) found.push_back(rho);
  }
  if (found.empty()) return {kNone, kNone};
  std::sort(found.begin(), found.end());
  return {quantile(found, 0.025), quantile(found, 0.975)};
}

std::vector<std::size_t> highest(const Scores& values, std::size_t k) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t i, std::size_t j) { return values[i] > values[j]; });
  order.resize(std::min(k, order.size()));
  return order;
}

Scores at_places(const Scores& values, const std::vector<std::size_t>& places) {
  Scores result;
  result.reserve(places.size());
  for (const std::size_t place : places) result.push_back(values[place]);
  return result;
}

}  // namespace retort::experiments::nas
