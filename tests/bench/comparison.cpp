#include "tests/bench/comparison.h"

#include <algorithm>
#include <functional>

#include "lib/core/clock.h"

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

bool passes_checks(benchmark::State& state, const std::vector<Check>& checks) {
  for (const Check& check : checks) {
    const std::string text = objection(check);
    if (text.empty()) continue;
    state.SkipWithError(text.c_str());
    return false;
  }
  const Errors errors = errors_of(checks.front());
  state.counters["ours_vs_f64"] = errors.ours_vs_f64;
  state.counters["plain_vs_f64"] = errors.plain_vs_f64;
  state.counters["error"] = errors.ours_vs_plain;
  state.counters["undecided"] = errors.undecided;
  return true;
}

}  // namespace

bool run_comparison(benchmark::State& state, Comparison& comparison) {
  if (!passes_checks(state, comparison.checks())) return false;
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
  state.counters["ours_ms"] = median(ours_ms);
  state.counters["plain_ms"] = median(plain_ms);
  if (const double images = comparison.images(); images > 0) {
    state.counters["ours_images_s"] = 1000 * images / median(ours_ms);
    state.counters["plain_images_s"] = 1000 * images / median(plain_ms);
  }
  state.counters["ratio"] = median(ratios);
  state.counters["ratio_min"] = *std::min_element(ratios.begin(), ratios.end());
  state.counters["ratio_max"] = *std::max_element(ratios.begin(), ratios.end());
  state.counters["cpu_ratio"] = median(cpu_ratios);
  return true;
}

}  // namespace retort::bench
