#include "lib/core/memory.h"

#include <sys/resource.h>

#include <cstring>
#include <memory>
#include <vector>

#include "tests/support/catch.h"

using namespace retort;

namespace {

long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

/// What a training step does: several large temporaries, written, then all freed.
void allocate_and_free() {
  constexpr std::size_t kBytes = 24 << 20;
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int i = 0; i < 4; ++i) {
    blocks.emplace_back(new char[kBytes]);
    std::memset(blocks.back().get(), i + 1, kBytes);
  }
}

}  // namespace

TEST_CASE("memory of freed tensors is used again without new pages", "[core][memory]") {
  tune_allocator();
  allocate_and_free();
  const long before = page_faults();
  for (int round = 0; round < 5; ++round) allocate_and_free();
  // Mapped anew, the five rounds would touch 5 * 96 MiB / 4 KiB = 122880 pages.
  CHECK(page_faults() - before < 5000);
}
