#pragma once

#include <string>

#include "methods/gradient_matching/gradient_distance.h"
#include "methods/matching/matching_method.h"

namespace retort::methods::gradient_matching {

/// Sum over classes of the distance between the gradients of the mean cross-entropy of the real
/// batch and of the synthetic images with respect to all parameters:
///   L = sum_c D(grad CE(R_c, c), grad CE(S_c, c))
/// (Zhao, Mopuri, Bilen, ICLR 2021, equation 10). The real gradient carries no graph. BatchNorm
/// layers use their running statistics, so classes share nothing.
class GradientObjective : public matching::Objective {
 public:
  explicit GradientObjective(Metric metric) : metric_(metric) {}
  /// Real: forward and weight gradients. Synthetic: twice through the network and back for the
  /// input gradient, measured in multiples of the forward pass.
  matching::LossCost cost() const override {
    return {.real = 2.93, .synthetic = 7.79, .synthetic_pass = Pass::SecondOrder};
  }
  bool joint(const nn::Network&) const override { return false; }
  bool uses_running_statistics() const override { return true; }
  matching::Loss loss(const matching::Lens& lens,
                      const std::vector<matching::ClassPair>& classes) const override;

 private:
  Metric metric_;
};

/// Networks trained on real data and Adam on the images: what gives most per minute on two cores.
struct Options : matching::MatchingOptions {
  Options() {
    iterations = 200;
    batch_real = 64;
    networks = "trained";
    image_optimizer = "adam";
    image_momentum = 0.9;
    lr_images = 0.02;
  }
  std::string metric = "rows";

  void describe(config::OptionTable& table);
};

class GradientMatching : public matching::MatchingMethod {
 public:
  explicit GradientMatching(const Options& options)
      : MatchingMethod(options, std::make_unique<GradientObjective>(parse_metric(options.metric))) {
  }
};

MethodInfo info();

}  // namespace retort::methods::gradient_matching
