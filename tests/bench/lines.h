#pragma once
// Which comparisons there are.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/check.h"
#include "tests/bench/comparison.h"
#include "tests/bench/plain_convnet.h"
#include "tests/bench/workload.h"

namespace retort::bench {

/// One line of the result, on any number of cores.
struct Line {
  std::string opponent;  ///< "best", "papers", or one of those that README.md names
  std::string work;      ///< "dm/rgb"
  std::function<std::unique_ptr<Comparison>()> make;
};

/// What lines share. Outlives them.
struct Scene {
  Sizes sizes;
  Workloads workloads;
  ExactResults exact;
};

/// A line per case, workload and style, whose work is called "<name of the case>/<workload>".
/// @tparam Compared constructed from scene, workload, case and style
template <class Compared, class Case>
std::vector<Line> lines_of(Scene& scene, const std::vector<Case>& cases) {
  std::vector<Line> lines;
  for (const Case& wanted : cases) {
    for (const std::string& workload : Workloads::names()) {
      for (const Style style : kStyles) {
        lines.push_back(
            {style_name(style), wanted.name + "/" + workload, [&scene, workload, wanted, style] {
               return std::make_unique<Compared>(scene, workload, wanted, style);
             }});
      }
    }
  }
  return lines;
}

std::vector<Line> feature_lines(Scene& scene);
std::vector<Line> matching_lines(Scene& scene);
std::vector<Line> gradient_lines(Scene& scene);
std::vector<Line> training_lines(Scene& scene);
std::vector<Line> stacked_lines(Scene& scene);
std::vector<Line> trajectory_lines(Scene& scene);
std::vector<Line> mixed_lines(Scene& scene);
std::vector<Line> recover_lines(Scene& scene);

}  // namespace retort::bench
