#include "lib/kernels/loops/loops.h"

#include <atomic>

namespace retort::kernels {
namespace {

const Loops* best_of_processor() {
  const AvailableLoops available = available_loops();
  return available.loops[available.count - 1];
}

std::atomic<const Loops*>& chosen() {
  static std::atomic<const Loops*> loops{best_of_processor()};
  return loops;
}

}  // namespace

AvailableLoops available_loops() {
  AvailableLoops available{{&loops_portable(), nullptr, nullptr}, 1};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    available.loops[available.count++] = &loops_avx2();
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    available.loops[available.count++] = &loops_avx512();
  }
#endif
  return available;
}

const Loops* best_loops() { return chosen(); }

void use_loops(const Loops* loops) { chosen() = loops; }

void use_best_loops() { chosen() = best_of_processor(); }

}  // namespace retort::kernels
