#include "lib/train/voting.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::train {

std::vector<double> voting_weights(const std::vector<double>& priors, double temperature) {
  if (priors.empty()) throw ConfigError("a committee needs a teacher or more, found none");
  for (const double prior : priors) {
    if (!std::isfinite(prior)) {
      throw ConfigError(str("priors of a committee: expected numbers, found ", join(priors)));
    }
  }
  const double largest = *std::max_element(priors.begin(), priors.end());
  std::vector<double> weights;
  for (const double prior : priors) weights.push_back(std::exp((prior - largest) / temperature));
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace retort::train
