#pragma once
// What the kernel tests share.

#include <functional>

#include "lib/core/rng.h"
#include "lib/kernels/loops/loops.h"
#include "lib/kernels/policy.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

namespace retort::testing {

/// While it lives, the kernels run on these loops; nullptr: on none.
class WithLoops {
 public:
  explicit WithLoops(const kernels::Loops* loops) { kernels::use_loops(loops); }
  ~WithLoops() { kernels::use_best_loops(); }
  WithLoops(const WithLoops&) = delete;
  WithLoops& operator=(const WithLoops&) = delete;
};

/// Runs `body` once per instruction set of the processor, the portable one first, counters at zero
/// each time.
inline void for_each_instruction_set(const std::function<void()>& body) {
  const kernels::AvailableLoops available = kernels::available_loops();
  for (int i = 0; i < available.count; ++i) {
    INFO("instruction set " << available.loops[i]->name);
    const WithLoops loops(available.loops[i]);
    kernels::reset_counters();
    body();
  }
}

/// Normal numbers, float32, the same for the same name and shape.
inline Tensor normal(const std::string& name, at::IntArrayRef shape) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(Rng(11).child(name).bits());
  return at::randn(shape, generator, at::TensorOptions(at::kFloat));
}

/// The block behind a convolution of the default ConvNet, in plain LibTorch operations.
inline Tensor norm_relu_pool_reference(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       double eps = 1e-5) {
  return at::avg_pool2d(at::relu(at::group_norm(x, x.size(1), weight, bias, eps)), 2);
}

/// Whether `run` gives the bits of `here` in three tasks at once, which is how methods run classes.
inline void check_same_bits_in_tasks(const std::function<Tensors()>& run, const Tensors& here) {
  std::vector<Tensors> elsewhere(3);
  parallel_tasks(3, [&](std::int64_t task) { elsewhere[std::size_t(task)] = run(); });
  for (const Tensors& other : elsewhere) {
    REQUIRE(other.size() == here.size());
    for (std::size_t i = 0; i < here.size(); ++i) {
      INFO("tensor " << i);
      CHECK(at::equal(here[i], other[i]));
    }
  }
}

inline Tensor leaf(const Tensor& values) { return values.detach().clone().requires_grad_(); }

}  // namespace retort::testing
