#include "apps/commands/device_options.h"

#include <cstdlib>
#include <filesystem>

#include <ATen/Context.h>

#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/kernels/cuda_module.h"
#include "lib/kernels/cuda_self_check.h"
#include "lib/kernels/device_backend.h"

namespace retort::commands {
namespace {

std::filesystem::path cuda_module() {
  const char* const named = std::getenv("RETORT_CUDA_MODULE");
  return named != nullptr && *named != '\0' ? std::filesystem::path(named)
                                            : kernels::cuda_module_beside_program();
}

}  // namespace

void DeviceOptions::describe(config::OptionTable& table) {
  table.add("device", device,
            "what computes: the processor, or an NVIDIA device (needs the CUDA module)",
            {"cpu, cuda or cuda:n", [](const std::string& text) {
               parse_device(text);
               return true;
             }});
}

at::Device DeviceOptions::open() const {
  const at::Device chosen = parse_device(device);
  if (chosen.is_cpu()) return chosen;
  return with_context(str("--device ", device), [&] {
    const auto& backend = kernels::load_cuda_module(cuda_module());
    const int devices = backend.count_devices().count;
    if (chosen.index() >= devices) {
      throw ConfigError(str("this machine has ", devices, " CUDA device", devices == 1 ? "" : "s",
                            ", counted from 0"));
    }
    // float32 means float32, as on the CPU.
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
    kernels::install_device_backend(kernels::self_checked(backend, chosen), at::kCUDA);
    return chosen;
  });
}

}  // namespace retort::commands
