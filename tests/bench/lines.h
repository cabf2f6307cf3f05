#pragma once
// Which comparisons there are.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/check.h"
#include "tests/bench/comparison.h"
#include "tests/bench/workload.h"

namespace retort::bench {

/// One line of the result, on any number of cores.
struct Line {
  std::string opponent;  ///< "best", "papers", or "serial": our own kernels, one after the other
  std::string work;      ///< "dm/rgb"
  std::function<std::unique_ptr<Comparison>()> make;
};

/// What lines share. Outlives them.
struct Scene {
  Sizes sizes;
  Workloads workloads;
  ExactResults exact;
};

std::vector<Line> feature_lines(Scene& scene);
std::vector<Line> matching_lines(Scene& scene);
std::vector<Line> gradient_lines(Scene& scene);
std::vector<Line> training_lines(Scene& scene);
std::vector<Line> stacked_lines(Scene& scene);

}  // namespace retort::bench
