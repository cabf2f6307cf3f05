#include "apps/commands/kernel_options.h"

#include <nlohmann/json.hpp>

#include "lib/kernels/policy.h"

namespace retort::commands {

void KernelOptions::describe(config::OptionTable& table) {
  table.add("kernels", kernels,
            "fast: our own loops where they serve; reference: LibTorch's operations everywhere, "
            "slower, to compare with",
            config::one_of({"fast", "reference"}));
}

void KernelOptions::apply() const {
  using retort::kernels::Policy;
  retort::kernels::set_policy(kernels == "fast" ? Policy::Fast : Policy::Reference);
  retort::kernels::reset_counters();
}

nlohmann::json kernel_counts() {
  const kernels::Counters counters = kernels::counters();
  return {{"policy", kernels::policy() == kernels::Policy::Fast ? "fast" : "reference"},
          {"norm_pool_fast", counters.norm_pool_fast},
          {"norm_pool_fallback", counters.norm_pool_fallback},
          {"conv_fast", counters.conv_fast},
          {"conv_fallback", counters.conv_fallback},
          {"convnet_fast", counters.convnet_fast},
          {"convnet_fallback", counters.convnet_fallback},
          {"gradient_fast", counters.gradient_fast},
          {"gradient_fallback", counters.gradient_fallback},
          {"second_order", counters.second_order}};
}

}  // namespace retort::commands
