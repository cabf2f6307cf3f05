#pragma once
// How much each teacher of a committee says (Cui et al. 2025, CV-DD).

#include <cstdint>
#include <vector>

namespace retort::train {

/// Of the code where teachers label, for priors in percent.
inline constexpr double kRelabelTemperature = 10;
/// Training images that teachers are asked about where nobody gives priors; all if there are fewer.
inline constexpr std::int64_t kVoteSample = 2000;

/// softmax(priors / temperature).
/// @param priors percent; the code's are accuracies of students trained on what is recovered from
///        each teacher alone  @throws ConfigError for none, and unless all are finite
std::vector<double> voting_weights(const std::vector<double>& priors, double temperature);

}  // namespace retort::train
