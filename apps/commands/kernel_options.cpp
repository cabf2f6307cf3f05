#include "apps/commands/kernel_options.h"

#include <nlohmann/json.hpp>

#include "lib/core/log.h"
#include "lib/kernels/policy.h"

namespace retort::commands {

void KernelOptions::describe(config::OptionTable& table) {
  table.add("kernels", kernels,
            "fast: our own loops where they serve; reference: LibTorch's operations everywhere, "
            "slower, to compare with",
            config::one_of({"fast", "reference"}));
  table.add("precision", precision,
            "mixed: forward passes without gradients in bf16 where the processor has matrix units "
            "for it",
            config::one_of({"fp32", "mixed"}));
}

void KernelOptions::apply() const {
  using retort::kernels::Policy;
  retort::kernels::set_policy(kernels == "fast" ? Policy::Fast : Policy::Reference);
  using retort::kernels::Precision;
  const bool mixed = precision == "mixed";
  retort::kernels::set_precision(mixed ? Precision::Mixed : Precision::Fp32);
  if (mixed && !retort::kernels::processor_gains_by_mixed()) {
    log::info(
        "precision mixed: this processor has no matrix units for bf16, so everything is computed "
        "in fp32");
  }
  retort::kernels::reset_counters();
}

nlohmann::json kernel_counts() {
  const kernels::Counters counters = kernels::counters();
  return {{"policy", kernels::policy() == kernels::Policy::Fast ? "fast" : "reference"},
          {"conv_fast", counters.conv_fast},
          {"conv_fallback", counters.conv_fallback},
          {"convnet_fast", counters.convnet_fast},
          {"convnet_fallback", counters.convnet_fallback},
          {"convnet_mixed", counters.convnet_mixed},
          {"gradient_fast", counters.gradient_fast},
          {"gradient_fallback", counters.gradient_fallback},
          {"attention_fast", counters.attention_fast},
          {"attention_fallback", counters.attention_fallback},
          {"batch_norm_fast", counters.batch_norm_fast},
          {"batch_norm_fallback", counters.batch_norm_fallback},
          {"second_order", counters.second_order},
          {"device_block_fast", counters.device_block_fast},
          {"device_block_fallback", counters.device_block_fallback},
          {"device_augment_fast", counters.device_augment_fast},
          {"device_augment_fallback", counters.device_augment_fallback},
          {"device_step_fast", counters.device_step_fast},
          {"device_step_fallback", counters.device_step_fallback}};
}

}  // namespace retort::commands
