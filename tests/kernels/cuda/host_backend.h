#pragma once
// The module's table made of host functions: what a device would compute, in the same order of
// additions, so that everything above the kernels runs without one.

#include <string>
#include <vector>

#include "lib/kernels/device_backend.h"

namespace retort::testing {

/// As strict as the module: tensors that are not contiguous float32 are an Error.
const kernels::CudaBackend& host_backend();

/// Serves the CPU's tensors while it lives, counters at zero to begin with.
class ServesCpu {
 public:
  explicit ServesCpu(const kernels::CudaBackend& backend = host_backend());
  ~ServesCpu() { kernels::remove_device_backend(); }
  ServesCpu(const ServesCpu&) = delete;
  ServesCpu& operator=(const ServesCpu&) = delete;
};

/// Names of the functions that are null.
std::vector<std::string> left_out(const kernels::CudaBackend& backend);

}  // namespace retort::testing
