#pragma once
// Runs on the host exactly what the device runs: every index, every lane, the same tree of sums.

#include "lib/kernels/cuda/grid.h"

namespace retort::kernels::cuda {

class HostGrid {
 public:
  template <class Body>
  void each(const Body& body) const {
    for (std::int64_t index = 0; index < body.size(); ++index) body(index);
  }

  template <class Body>
  void rows(const Body& body) const {
    for (std::int64_t row = 0; row < body.rows(); ++row) {
      Sums lanes[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane_sum(body, row, lane);
      for (int step = kLanes / 2; step > 0; step /= 2) exchange(lanes, step);
      body.finish(row, lanes[0]);
    }
  }

 private:
  /// __shfl_xor_sync on all lanes.
  static void exchange(Sums (&lanes)[kLanes], int step) {
    Sums before[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) before[lane] = lanes[lane];
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = before[lane] + before[lane ^ step];
  }
};

}  // namespace retort::kernels::cuda
