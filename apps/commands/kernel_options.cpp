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
  table.add(
      "precision", precision,
      "mixed: forward passes without gradients of ConvNets with InstanceNorm in bf16, without "
      "attention, where the processor has matrix units for it",
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
  nlohmann::json document = {
      {"policy", kernels::policy() == kernels::Policy::Fast ? "fast" : "reference"}};
  for (const auto& [name, value] : kernels::named_counters()) document[name] = counters.*value;
  return document;
}

}  // namespace retort::commands
