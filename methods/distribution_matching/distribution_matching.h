#pragma once

#include "methods/matching/matching_method.h"

namespace retort::methods::distribution_matching {

/// Sum over classes of the squared distance between mean embeddings:
///   L = sum_c | mean_{x in R_c} e(x) - mean_{x in S_c} e(x) |^2
/// (Zhao and Bilen, WACV 2023, equation 4; a plain sum over the embedding's coordinates).
class DistributionObjective : public matching::Objective {
 public:
  matching::Loss loss(const matching::Lens& lens,
                      const std::vector<matching::ClassPair>& classes) const override;
};

struct Options : matching::MatchingOptions {};

class DistributionMatching : public matching::MatchingMethod {
 public:
  explicit DistributionMatching(const Options& options)
      : MatchingMethod(options, std::make_unique<DistributionObjective>()) {}
};

MethodInfo info();

}  // namespace retort::methods::distribution_matching
