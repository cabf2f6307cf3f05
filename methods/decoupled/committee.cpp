#include "methods/decoupled/committee.h"

#include <algorithm>
#include <numeric>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::methods::decoupled {
namespace {

Pair two_largest(const std::vector<double>& priors) {
  std::vector<std::int64_t> order(priors.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return priors[std::size_t(a)] > priors[std::size_t(b)];
  });
  return {std::min(order[0], order[1]), std::max(order[0], order[1])};
}

}  // namespace

std::vector<Pair> all_pairs(std::int64_t teachers) {
  std::vector<Pair> pairs;
  for (std::int64_t a = 0; a < teachers; ++a) {
    for (std::int64_t b = a + 1; b < teachers; ++b) pairs.push_back({a, b});
  }
  return pairs;
}

std::vector<Pair> pairs_for(std::int64_t ipc, const std::vector<double>& priors, const Rng& rng,
                            const std::optional<Pair>& single) {
  if (priors.size() < 2) {
    throw ConfigError(str("a committee of pairs needs 2 teachers or more, found ", priors.size()));
  }
  const auto teachers = std::int64_t(priors.size());
  if (single &&
      !(0 <= single->first && single->first < single->second && single->second < teachers)) {
    throw ConfigError(str("a pair of ", teachers, " teachers: expected two of 0 .. ", teachers - 1,
                          " in ascending order, found ", single->first, " and ", single->second));
  }
  if (ipc == 1) return {single.value_or(two_largest(priors))};
  const std::vector<Pair> pairs = all_pairs(std::int64_t(priors.size()));
  if (ipc == std::int64_t(pairs.size())) return pairs;
  std::vector<Pair> chosen;
  for (std::int64_t k = 0; k < ipc; ++k) {
    Rng pick = rng.child("pair", k);
    chosen.push_back(pairs[std::size_t(pick.integer(std::int64_t(pairs.size())))]);
  }
  return chosen;
}

}  // namespace retort::methods::decoupled
