#pragma once
// Two implementations of one piece of work, timed alternately.

#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lib/core/tensor.h"

namespace retort::bench {

/// How far apart the two results are, and how far they may be.
struct Difference {
  std::string of;  ///< "gradient"
  double found = 0;
  double allowed = 0;
};

class Comparison {
 public:
  virtual ~Comparison() = default;
  /// Does the work once in both ways, from the same start. The first entry is the one reported.
  virtual std::vector<Difference> differences() = 0;
  virtual void ours(std::int64_t round) = 0;
  virtual void plain(std::int64_t round) = 0;
};

/// |a - b| / |b| in the Euclidean norm.
double relative_difference(const Tensor& a, const Tensor& b);
/// The same for every image (row); of these the one that 19 in 20 do not exceed. Where rounding
/// takes a value before a ReLU across zero, one image's gradient changes by a thousandth or more
/// while the others agree to the last digits.
double difference_of_most_images(const Tensor& a, const Tensor& b);

/// First checks that both compute the same; if not, reports an error and times nothing. Then runs
/// ours, plain, ours, plain, ... for as many rounds as `state` has iterations and sets counters:
///   ratio               median over the rounds of plain's wall time / ours
///   ratio_min, _max     the same, smallest and largest round
///   cpu_ratio           median of the ratio of processor times, all threads
///   ours_ms, plain_ms   median wall times
///   error               the first of the differences
/// @return whether both computed the same
bool run_comparison(benchmark::State& state, Comparison& comparison);

}  // namespace retort::bench
