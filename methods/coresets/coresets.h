#pragma once

#include <string>

#include "lib/synth/real_selection.h"
#include "methods/real_images.h"

namespace retort::methods::coresets {

struct Options : RealImagesOptions {
  synth::FeatureOptions features;

  void describe(config::OptionTable& table);
};

/// Real images chosen by their features: herding, k-center or k-means (nearest to each centroid).
class Coreset : public RealImages {
 public:
  Coreset(const Options& options, std::string rule)
      : RealImages(options.factor), options_(options), rule_(std::move(rule)) {}
  Work work(const RunContext& run) const override;

 protected:
  Tensor select(RunContext& run, std::int64_t per_class) const override;

 private:
  Options options_;
  std::string rule_;
};

MethodInfo herding_info();
MethodInfo k_center_info();
MethodInfo k_means_info();

}  // namespace retort::methods::coresets
