#pragma once

#include "methods/real_images.h"

namespace retort::methods::random_selection {

/// ipc real images per class without replacement: the baseline of every paper.
class RandomSelection : public RealImages {
 public:
  explicit RandomSelection(const RealImagesOptions& options) : RealImages(options.factor) {}
  Work work(const RunContext&) const override { return {}; }

 protected:
  Tensor select(RunContext& run, std::int64_t per_class) const override;
};

MethodInfo info();

}  // namespace retort::methods::random_selection
