#pragma once
// Two implementations of one piece of work, timed alternately.

#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "tests/bench/check.h"

namespace retort::bench {

class Comparison {
 public:
  virtual ~Comparison() = default;
  /// Does the work once in both ways, from the same start. The first one's errors are reported.
  virtual std::vector<Check> checks() = 0;
  virtual void ours(std::int64_t round) = 0;
  virtual void plain(std::int64_t round) = 0;
  /// Images that a round works through, where their rate says more than times; else 0.
  virtual double images() const { return 0; }
};

/// First checks that both compute the same; if not, reports an error and times nothing. Then runs
/// ours, plain, ours, plain, ... for as many rounds as `state` has iterations and sets counters:
///   ratio               median over the rounds of plain's wall time / ours
///   ratio_min, _max     the same, smallest and largest round
///   cpu_ratio           median of the ratio of processor times, all threads
///   ours_ms, plain_ms   median wall times
///   ours_images_s, plain_images_s   images per second by these times, where there are images()
///   ours_vs_f64, plain_vs_f64, error (ours against plain), undecided: of the first check
/// @return whether both computed the same
bool run_comparison(benchmark::State& state, Comparison& comparison);

}  // namespace retort::bench
