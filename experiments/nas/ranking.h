#pragma once
// How well one ranking tells another.

#include <cstdint>
#include <vector>

#include "lib/core/rng.h"

namespace retort::experiments::nas {

using Scores = std::vector<double>;

/// 1 for the smallest; equal values share the mean of their ranks.
std::vector<double> average_ranks(const Scores& values);

/// Spearman's rho: Pearson's correlation of the average ranks, without ties
/// 1 - 6 sum d^2 / (n (n^2 - 1)). NaN for fewer than two values, and where all of one side are
/// equal.
/// @throws Error unless both are equally long
double spearman(const Scores& a, const Scores& b);

struct Interval {
  double low = 0;  ///< NaN: not defined
  double high = 0;
};

inline constexpr std::int64_t kResamples = 2000;

/// 95 % interval of rho: percentiles over kResamples resamples of the pairs with replacement
/// (Efron's bootstrap). Those without a rho, where one side has become constant, do not count.
Interval spearman_interval(const Scores& a, const Scores& b, Rng rng);

/// Places of the `k` highest values, the highest first; of equal ones the earlier place.
std::vector<std::size_t> highest(const Scores& values, std::size_t k);

/// The values at these places.
Scores at_places(const Scores& values, const std::vector<std::size_t>& places);

}  // namespace retort::experiments::nas
