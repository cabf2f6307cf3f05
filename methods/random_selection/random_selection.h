#pragma once

#include "methods/real_images.h"

namespace retort::methods::random_selection {

struct Options {
  std::int64_t factor = 1;  ///< pack factor x factor shrunk images into each stored one

  void describe(config::OptionTable& table);
};

/// ipc real images per class without replacement: the baseline of every paper.
class RandomSelection : public RealImages {
 public:
  explicit RandomSelection(const Options& options) : RealImages(options.factor) {}
  Work work(const RunContext&) const override { return {}; }

 protected:
  Tensor select(RunContext& run, std::int64_t per_class) const override;
};

MethodInfo info();

}  // namespace retort::methods::random_selection
