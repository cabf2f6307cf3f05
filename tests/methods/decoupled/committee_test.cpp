#include "methods/decoupled/committee.h"

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods::decoupled;

namespace {

void check_weights(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i] == Approx(expected[i]).margin(5e-4));
  }
  CHECK(std::accumulate(found.begin(), found.end(), 0.0) == Approx(1).epsilon(1e-14));
}

}  // namespace

TEST_CASE("votes are those of CV-DD's priors", "[methods][decoupled]") {
  check_weights(voting_weights({46.5, 28.3}, kRecoverTemperature), {0.974, 0.026});
  check_weights(voting_weights({51.6, 59.4}, kRecoverTemperature), {0.174, 0.826});
  check_weights(voting_weights({67.6, 67.4}, kRecoverTemperature), {0.510, 0.490});
  check_weights(voting_weights({64.0, 60.6, 51.6, 59.4, 56.4}, train::kRelabelTemperature),
                {0.323, 0.230, 0.093, 0.204, 0.151});
  check_weights(voting_weights({12, 12, 12, 12}, 5), {0.25, 0.25, 0.25, 0.25});
  check_weights(voting_weights({-1e6}, 5), {1});
  CHECK_THROWS_WITH_TEXT(voting_weights({}, 5), ConfigError, "found none");
  CHECK_THROWS_WITH_TEXT(voting_weights({1, std::numeric_limits<double>::quiet_NaN()}, 5),
                         ConfigError, "expected numbers, found 1, ");
}

TEST_CASE("pairs follow the number of images per class", "[methods][decoupled]") {
  const std::vector<double> priors = {63.0, 65.3, 68.5, 67.6, 67.4};
  CHECK((pairs_for(1, priors, Rng(0)) == std::vector<Pair>{{2, 3}}));
  CHECK((pairs_for(1, {5, 7, 7, 7}, Rng(0)) == std::vector<Pair>{{1, 2}}));
  // The code's own for CIFAR-10.
  CHECK((pairs_for(1, priors, Rng(0), Pair{3, 4}) == std::vector<Pair>{{3, 4}}));
  CHECK_THROWS_WITH_TEXT(pairs_for(1, priors, Rng(0), Pair{4, 5}), ConfigError,
                         "two of 0 .. 4 in ascending order, found 4 and 5");
  const std::vector<Pair> all = {{0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 2},
                                 {1, 3}, {1, 4}, {2, 3}, {2, 4}, {3, 4}};
  CHECK((pairs_for(10, priors, Rng(0)) == all));
  CHECK((pairs_for(3, {1, 2, 3}, Rng(0)) == std::vector<Pair>{{0, 1}, {0, 2}, {1, 2}}));
  CHECK((pairs_for(5, {1, 2}, Rng(0)) == std::vector<Pair>(5, Pair{0, 1})));
  CHECK_THROWS_WITH_TEXT(pairs_for(1, {50}, Rng(0)), ConfigError, "2 teachers or more, found 1");

  // Uniform: 100,000 draws of 10 pairs have a standard deviation of 95.
  std::map<std::pair<std::int64_t, std::int64_t>, int> counts;
  for (const Pair& pair : pairs_for(100'000, priors, Rng(7))) {
    ++counts[{pair.first, pair.second}];
  }
  REQUIRE(counts.size() == 10);
  for (const auto& [pair, count] : counts) CHECK(std::abs(count - 10'000) < 5 * 95);
}
