#pragma once

#include "methods/matching/matching_method.h"

namespace retort::methods::attention_matching {

/// Rows divided by their lengths, at least 1e-12.  @param rows [N,D]
Tensor unit_length(const Tensor& rows);

/// Spatial attention at every activation but the last, and the mean embedding:
///   L = 100 sum_l sum_c |mean_R a_l - mean_S a_l|^2 + 100 lambda sum_c |mean_R e - mean_S e|^2
/// (Sajedi et al., ICCV 2023, equations 2 to 4, with the released code's factor 100, exponent and
/// flattened embedding).
class AttentionObjective : public matching::Objective {
 public:
  AttentionObjective(double power, double lambda) : power_(power), lambda_(lambda) {}
  /// @throws ConfigError unless the network has at least two activation maps
  void check(const nn::Network& network) const override;
  matching::LossCost cost() const override;
  matching::Loss loss(const matching::Lens& lens,
                      const std::vector<matching::ClassPair>& classes) const override;

 private:
  double power_;
  double lambda_;
};

/// Defaults of the released code; the preset datadam/paper-* hold the published table's.
struct Options : matching::MatchingOptions {
  Options() {
    net = "ConvNet-3-BN";
    batch_real = 64;
  }
  double power = 1.0;
  double lambda = 0.01;

  void describe(config::OptionTable& table);
};

class AttentionMatching : public matching::MatchingMethod {
 public:
  explicit AttentionMatching(const Options& options)
      : MatchingMethod(options,
                       std::make_unique<AttentionObjective>(options.power, options.lambda)) {}
};

MethodInfo info();

}  // namespace retort::methods::attention_matching
