#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "lib/config/options.h"

namespace retort::commands {

/// Which kernels compute, and how exactly. Changes bits, so a run records it.
struct KernelOptions {
  std::string kernels = "fast";
  std::string precision = "fp32";

  void describe(config::OptionTable& table);
  /// Sets policy and precision of the whole program and starts its counters anew.
  void apply() const;
};

/// Policy and counters since `apply`, for documents: {"policy": "fast", "conv_fast": 12, ...}.
nlohmann::json kernel_counts();

}  // namespace retort::commands
