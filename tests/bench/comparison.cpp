#include "tests/bench/comparison.h"

#include <algorithm>
#include <functional>
#include <tuple>

#include "lib/core/clock.h"
#include "lib/core/str.h"

namespace retort::bench {
namespace {

struct Seconds {
  double wall = 0;
  double cpu = 0;
};

Seconds timed(const std::function<void()>& work) {
  const Seconds start{wall_seconds(), cpu_seconds()};
  work();
  return {wall_seconds() - start.wall, cpu_seconds() - start.cpu};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Not `found > allowed`, which lets NaN pass.
bool agrees(const Difference& d) { return d.found <= d.allowed; }

}  // namespace

double relative_difference(const Tensor& a, const Tensor& b) {
  const Tensor reference = b.to(at::kDouble);
  return ((a.to(at::kDouble) - reference).norm() / reference.norm()).item<double>();
}

double difference_of_most_images(const Tensor& a, const Tensor& b) {
  const Tensor reference = b.to(at::kDouble).flatten(1);
  const Tensor difference = a.to(at::kDouble).flatten(1) - reference;
  const Tensor relative = difference.norm(2, {1}, false) / reference.norm(2, {1}, false);
  const std::int64_t exempt = relative.numel() / 20;
  return std::get<0>(relative.sort())[relative.numel() - 1 - exempt].item<double>();
}

bool run_comparison(benchmark::State& state, Comparison& comparison) {
  const std::vector<Difference> differences = comparison.differences();
  for (const Difference& d : differences) {
    if (!agrees(d)) {
      const std::string message = str("the ", d.of, " differs from plain LibTorch's by ", d.found,
                                      " (relative), allowed are ", d.allowed);
      state.SkipWithError(message.c_str());
      return false;
    }
  }
  std::vector<double> ours_ms;
  std::vector<double> plain_ms;
  std::vector<double> ratios;
  std::vector<double> cpu_ratios;
  std::int64_t round = 0;
  for ([[maybe_unused]] auto _ : state) {
    const Seconds ours = timed([&] { comparison.ours(round); });
    const Seconds plain = timed([&] { comparison.plain(round); });
    ++round;
    state.SetIterationTime(ours.wall);
    ours_ms.push_back(1000 * ours.wall);
    plain_ms.push_back(1000 * plain.wall);
    ratios.push_back(plain.wall / ours.wall);
    cpu_ratios.push_back(plain.cpu / ours.cpu);
  }
  state.counters["error"] = differences.front().found;
  state.counters["ours_ms"] = median(ours_ms);
  state.counters["plain_ms"] = median(plain_ms);
  state.counters["ratio"] = median(ratios);
  state.counters["ratio_min"] = *std::min_element(ratios.begin(), ratios.end());
  state.counters["ratio_max"] = *std::max_element(ratios.begin(), ratios.end());
  state.counters["cpu_ratio"] = median(cpu_ratios);
  return true;
}

}  // namespace retort::bench
