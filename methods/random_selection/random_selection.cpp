#include "methods/random_selection/random_selection.h"

#include "lib/synth/real_selection.h"

namespace retort::methods::random_selection {

void Options::describe(config::OptionTable& table) {
  table.add("factor", factor, "multi-formation: real images shrunk into factor x factor grids",
            config::in_range(std::int64_t{1}, 5));
}

Tensor RandomSelection::select(RunContext& run, std::int64_t per_class) const {
  return synth::select_real(run.dataset, "random", per_class, {}, run.rng.child("select"));
}

MethodInfo info() {
  return {"random", "Random selection", "baseline", "Real images, drawn without replacement.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, RandomSelection>>();
          }};
}

}  // namespace retort::methods::random_selection
