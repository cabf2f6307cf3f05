#include "lib/kernels/cuda_module.h"

#include <dlfcn.h>
#include <filesystem>

#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using kernels::load_cuda_module;

namespace {

// Any library that is always there stands for the driver.
constexpr const char* kSomeLibrary = "libm.so.6";

}  // namespace

TEST_CASE("a device is named cpu, cuda or cuda:n", "[kernels][device]") {
  CHECK(parse_device("cpu") == at::Device(at::kCPU));
  CHECK(parse_device("cuda") == at::Device(at::kCUDA, 0));
  CHECK(parse_device("cuda:0") == at::Device(at::kCUDA, 0));
  CHECK(parse_device("cuda:12") == at::Device(at::kCUDA, 12));
  for (const char* text : {"", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:1x", "cuda:100", "cpu:0"}) {
    CHECK_THROWS_WITH_TEXT(parse_device(text), ConfigError, "expected cpu, cuda or cuda:n");
  }
}

TEST_CASE("what is missing for CUDA is said, with what to do about it", "[kernels][device]") {
  const TemporaryFolder folder("retort-cuda-module");
  const auto missing = folder.path() / "libretort_cuda.so";
  CHECK_THROWS_WITH_TEXT(load_cuda_module(missing, kSomeLibrary), ConfigError,
                         "the CUDA module was not built: there is no '" + missing.string() + "'");
  CHECK_THROWS_WITH_TEXT(load_cuda_module(folder.path(), kSomeLibrary), ConfigError,
                         "-DRETORT_CUDA=ON");

  const auto text = folder.path() / "text.so";
  write_text(text, "this is no library");
  CHECK_THROWS_WITH_TEXT(load_cuda_module(text, "libno-such-driver.so.1"), ConfigError,
                         "there is no NVIDIA driver on this machine (libno-such-driver.so.1");
  CHECK_THROWS_WITH_TEXT(load_cuda_module(text, kSomeLibrary), ConfigError,
                         "`scripts/setup --cuda` installs every library it needs");
  CHECK_THROWS_WITH_TEXT(load_cuda_module(text, kSomeLibrary), ConfigError, "text.so");

  Dl_info libc;
  REQUIRE(dladdr(reinterpret_cast<const void*>(&dlopen), &libc) != 0);
  CHECK_THROWS_WITH_TEXT(load_cuda_module(libc.dli_fname, kSomeLibrary), ConfigError,
                         "is not of this build; build it again");
}

TEST_CASE("without a device the built module ends in a message, not in a crash",
          "[kernels][device]") {
  const std::filesystem::path module = RETORT_CUDA_MODULE;
  if (module.empty()) {
    WARN("SKIPPED: the CUDA module was not built");
    return;
  }
  if (dlopen("libcuda.so.1", RTLD_LAZY) != nullptr) {
    WARN("SKIPPED: this machine has a driver");
    return;
  }
  CHECK_THROWS_WITH_TEXT(load_cuda_module(module), ConfigError, "there is no NVIDIA driver");
  // As if there were one: either LibTorch's CUDA libraries are missing, or a device is.
  try {
    load_cuda_module(module, kSomeLibrary);
    FAIL("nothing was thrown");
  } catch (const ConfigError& e) {
    CHECK_THAT(e.what(), Contains("scripts/setup --cuda") || Contains("no usable CUDA device"));
  }
  CHECK(at::ones({2}).sum().item<double>() == 2);
}
