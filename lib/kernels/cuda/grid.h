#pragma once
// The two shapes of parallel work of this folder. A body is a struct that is copied to the device:
//
//   each: std::int64_t size() const;            one call per index 0 .. size()-1, in any order
//         void operator()(std::int64_t index) const;
//   rows: std::int64_t rows() const, length() const;   one sum per row, by one warp
//         Sums term(std::int64_t row, std::int64_t i) const;
//         void finish(std::int64_t row, Sums sums) const;
//
// A grid offers each(body) and rows(body), which run one after the other: CudaGrid on a stream,
// HostGrid in loops, with the same order of additions, for tests.

#include <cstdint>

#include "lib/kernels/cuda/host_device.h"

namespace retort::kernels::cuda {

inline constexpr int kLanes = 32;  ///< threads of a warp

/// Two sums at once, since a pass over memory costs more than an addition.
struct Sums {
  float first;
  float second;
};

RETORT_HD Sums operator+(Sums a, Sums b) { return {a.first + b.first, a.second + b.second}; }

/// What one lane adds up of a row: every 32nd term, so that a warp reads neighbours together.
template <class Body>
RETORT_HD Sums lane_sum(const Body& body, std::int64_t row, int lane) {
  Sums sum{0, 0};
  for (std::int64_t i = lane; i < body.length(); i += kLanes) sum = sum + body.term(row, i);
  return sum;
}

/// @param x any value; rounds towards minus infinity
RETORT_HD std::int64_t floor_to_integer(float x) {
  const auto truncated = std::int64_t(x);
  return float(truncated) > x ? truncated - 1 : truncated;
}

}  // namespace retort::kernels::cuda
