#pragma once

#include <string>

#include "lib/config/options.h"
#include "lib/core/tensor.h"

namespace retort::commands {

/// Where networks and images are computed with. Changes bits, so a run records it.
struct DeviceOptions {
  std::string device = "cpu";

  void describe(config::OptionTable& table);

  /// Must come before anything else that uses LibTorch. For a CUDA device opens the module beside
  /// the program, or $RETORT_CUDA_MODULE, turns TF32 and what is not repeatable in cuDNN off, and
  /// from then on uses those of the module's kernels that pass their check on the device.
  /// @throws ConfigError for a device that is not there, saying why
  at::Device open() const;
};

}  // namespace retort::commands
