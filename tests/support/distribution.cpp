#include "tests/support/distribution.h"

#include <cmath>
#include <numeric>

#include "tests/support/catch.h"

namespace retort::testing {
namespace {

constexpr double kSigmas = 5;
constexpr double kFewest = 10;

/// A chi-square variable in standard deviations of a normal one: its cube root is nearly normal
/// (Wilson and Hilferty 1931).
double chi_square_sigmas(double statistic, double freedom) {
  const double variance = 2 / (9 * freedom);
  return (std::cbrt(statistic / freedom) - (1 - variance)) / std::sqrt(variance);
}

/// @param variances of the counts
/// @param scale makes the sum of squared deviations a chi-square variable
void check_cells(const std::vector<double>& counts, const std::vector<double>& expected,
                 const std::vector<double>& variances, const std::vector<double>& scales) {
  double statistic = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    INFO("cell " << i << " of " << counts.size() << ": expected " << expected[i] << ", found "
                 << counts[i]);
    const double deviation = counts[i] - expected[i];
    CHECK(std::abs(deviation) <= kSigmas * std::sqrt(variances[i]));
    statistic += deviation * deviation / scales[i];
  }
  const double freedom = double(counts.size()) - 1;
  INFO("sum over " << counts.size() << " cells: " << statistic);
  CHECK(std::abs(chi_square_sigmas(statistic, freedom)) <= kSigmas);
}

}  // namespace

void check_shares(const std::vector<std::int64_t>& counts, const std::vector<double>& shares) {
  REQUIRE(counts.size() == shares.size());
  REQUIRE(std::accumulate(shares.begin(), shares.end(), 0.0) == Approx(1).epsilon(1e-9));
  const auto draws = double(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  std::vector<double> found;
  std::vector<double> kept_shares;
  double rare_found = 0;
  double rare_share = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    // What never happens must not.
    if (shares[i] == 0) CHECK(counts[i] == 0);
    if (draws * shares[i] < kFewest) {
      rare_found += double(counts[i]);
      rare_share += shares[i];
    } else {
      found.push_back(double(counts[i]));
      kept_shares.push_back(shares[i]);
    }
  }
  if (rare_share > 0) {
    found.push_back(rare_found);
    kept_shares.push_back(rare_share);
  }
  REQUIRE(found.size() > 1);
  std::vector<double> expected;
  std::vector<double> variances;
  for (const double share : kept_shares) {
    expected.push_back(draws * share);
    variances.push_back(draws * share * (1 - share));
  }
  check_cells(found, expected, variances, expected);
}

void check_uniform(const std::vector<std::int64_t>& counts) {
  check_shares(counts, std::vector<double>(counts.size(), 1 / double(counts.size())));
}

void check_inclusions(const std::vector<std::int64_t>& counts, std::int64_t repeats,
                      std::int64_t take) {
  const auto drawn = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  REQUIRE(drawn == repeats * take);
  const auto items = double(counts.size());
  const double share = double(take) / items;
  const double variance = double(repeats) * share * (1 - share);
  const std::vector<double> found(counts.begin(), counts.end());
  // Items of one draw exclude each other: their covariance is -variance / (items - 1).
  const double scale = variance * items / (items - 1);
  check_cells(found, std::vector<double>(found.size(), double(repeats) * share),
              std::vector<double>(found.size(), variance),
              std::vector<double>(found.size(), scale));
}

}  // namespace retort::testing
