#include "methods/random_selection/random_selection.h"

#include "lib/synth/real_selection.h"

namespace retort::methods::random_selection {

Tensor RandomSelection::select(RunContext& run, std::int64_t per_class) const {
  return synth::select_real(run.dataset, "random", per_class, {}, run.rng.child("select"));
}

MethodInfo info() {
  return {"random", "Random selection", "baseline", "Real images, drawn without replacement.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<RealImagesOptions, RandomSelection>>();
          }};
}

}  // namespace retort::methods::random_selection
