#pragma once

#include <optional>

#include "methods/matching/matching_method.h"

namespace retort::methods::distribution_matching {

/// Sum over classes of a distance between the embeddings of real and synthetic images.
///   mean:     L = sum_c | mean_{x in R_c} e(x) - mean_{x in S_c} e(x) |^2
///             (Zhao and Bilen, WACV 2023, equation 4; a plain sum over the embedding's
///             coordinates)
///   gaussian: L = sum_c gaussian_discrepancy(e(R_c), e(S_c))
class DistributionObjective : public matching::Objective {
 public:
  /// @param gaussian_bandwidth of gaussian_discrepancy(); none: mean
  explicit DistributionObjective(std::optional<double> gaussian_bandwidth = {})
      : gaussian_bandwidth_(gaussian_bandwidth) {}
  std::int64_t least_real() const override { return gaussian_bandwidth_ ? 2 : 1; }
  matching::Loss loss(const matching::Lens& lens,
                      const std::vector<matching::ClassPair>& classes) const override;

 private:
  std::optional<double> gaussian_bandwidth_;
};

struct Options : matching::MatchingOptions {
  std::string discrepancy = "mean";
  double bandwidth = 1;

  void describe(config::OptionTable& table);
};

class DistributionMatching : public matching::MatchingMethod {
 public:
  explicit DistributionMatching(const Options& options);
};

MethodInfo info();

}  // namespace retort::methods::distribution_matching
