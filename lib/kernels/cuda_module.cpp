#include "lib/kernels/cuda_module.h"

#include <dlfcn.h>
#include <mutex>
#include <string>

#include <ATen/Context.h>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::kernels {
namespace {

std::string last_dl_error() {
  const char* message = dlerror();
  return message == nullptr ? "unknown error" : message;
}

void expect_module_and_driver(const std::filesystem::path& module, const std::string& driver) {
  if (!std::filesystem::is_regular_file(module)) {
    throw ConfigError(str("the CUDA module was not built: there is no '", module.string(),
                          "'; build with nvcc 13 and -DRETORT_CUDA=ON (preset cuda)"));
  }
  // Before the module: without a driver nobody needs to install its libraries.
  if (dlopen(driver.c_str(), RTLD_NOW) == nullptr) {
    throw ConfigError(str("there is no NVIDIA driver on this machine (", last_dl_error(), ")"));
  }
}

const CudaBackend& open_module(const std::filesystem::path& module) {
  // Global: LibTorch's CUDA part registers itself with the part that the program was linked with.
  void* const handle = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) {
    throw ConfigError(str("the CUDA module cannot be loaded: ", last_dl_error(),
                          "; `scripts/setup --cuda` installs every library it needs"));
  }
  const auto backend =
      reinterpret_cast<const CudaBackend* (*)()>(dlsym(handle, "retort_cuda_backend"));
  if (backend == nullptr || backend()->version != kCudaBackendVersion) {
    throw ConfigError(
        str("the CUDA module '", module.string(), "' is not of this build; build it again"));
  }
  return *backend();
}

}  // namespace

std::filesystem::path cuda_module_beside_program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libretort_cuda.so";
}

const CudaBackend& load_cuda_module(const std::filesystem::path& module,
                                    const std::string& driver) {
  static std::mutex mutex;
  static const CudaBackend* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded != nullptr) return *loaded;
  expect_module_and_driver(module, driver);
  const CudaBackend& backend = open_module(module);
  const cuda::DeviceCount devices = backend.count_devices();
  if (devices.count == 0) {
    throw ConfigError(str("there is no usable CUDA device: ", devices.reason));
  }
  if (!at::hasCUDA()) {
    throw ConfigError("LibTorch does not see the CUDA device: something used it before the module");
  }
  loaded = &backend;
  return backend;
}

}  // namespace retort::kernels
