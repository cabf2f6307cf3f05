#include "lib/core/free_memory.h"

#include "lib/core/files.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
namespace fs = std::filesystem;

namespace {

/// Files of a kernel that has 1000 KiB available.
class Kernel {
 public:
  Kernel() { write("meminfo", "MemTotal: 2000 kB\nMemAvailable: 1000 kB\n"); }
  void write(const std::string& name, const std::string& text) const {
    write_text(folder_.path() / name, text);
  }
  double free() const {
    return free_memory_bytes({.meminfo = folder_.path() / "meminfo",
                              .own_groups = folder_.path() / "own",
                              .groups = folder_.path() / "groups"});
  }

 private:
  testing::TemporaryFolder folder_{"retort-memory-test"};
};

}  // namespace

TEST_CASE("memory is free as far as the machine has it", "[core]") {
  const Kernel kernel;
  CHECK(kernel.free() == 1000 * 1024);
  kernel.write("meminfo", "nothing\n");
  CHECK(kernel.free() == 0);
  CHECK(free_memory_bytes() > 0);
}

TEST_CASE("a container's limit counts, its cached files do not", "[core]") {
  const Kernel kernel;
  kernel.write("own", "0::/\n");
  kernel.write("groups/memory.max", "max\n");
  CHECK(kernel.free() == 1000 * 1024);
  kernel.write("groups/memory.max", "5000\n");
  kernel.write("groups/memory.current", "3000\n");
  CHECK(kernel.free() == 2000);
  kernel.write("groups/memory.stat", "anon 1\ninactive_file 500\n");
  CHECK(kernel.free() == 2500);
  kernel.write("groups/memory.current", "9000\n");
  CHECK(kernel.free() == 0);
}

TEST_CASE("every group around the program limits it, in both versions", "[core]") {
  const Kernel kernel;
  kernel.write("own", "0::/job/step\n");
  kernel.write("groups/job/memory.max", "700\n");
  kernel.write("groups/job/step/memory.max", "max\n");
  CHECK(kernel.free() == 700);
  kernel.write("own", "3:cpu:/x\n4:memory:/job\n0::/\n");
  kernel.write("groups/memory/job/memory.limit_in_bytes", "600\n");
  kernel.write("groups/memory/job/memory.usage_in_bytes", "100\n");
  CHECK(kernel.free() == 500);
  // Of a container the path that the kernel tells lies outside of what can be seen.
  kernel.write("own", "4:memory:/elsewhere/job\n");
  kernel.write("groups/memory/memory.limit_in_bytes", "400\n");
  CHECK(kernel.free() == 400);
}
