#pragma once
// What the tests of lib/kernels/cuda share. Everything the device would compute is computed on the
// host, by the same functions over the whole index space.

#include <limits>
#include <string>
#include <vector>

#include "lib/kernels/cuda/host_grid.h"
#include "tests/kernels/kernel_test.h"

namespace retort::testing {

inline const kernels::cuda::HostGrid kHost;

inline const float* in(const Tensor& t) { return t.const_data_ptr<float>(); }
inline float* out(const Tensor& t) { return t.mutable_data_ptr<float>(); }

/// Filled with NaN: what a kernel forgets to write shows.
inline Tensor unwritten(at::IntArrayRef shape) {
  return at::full(shape, std::numeric_limits<float>::quiet_NaN(), at::TensorOptions(at::kFloat));
}

inline Tensor unwritten_like(const Tensor& t) { return unwritten(t.sizes()); }

}  // namespace retort::testing
