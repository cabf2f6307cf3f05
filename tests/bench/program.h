#pragma once
// Runs lines: memory, check, times.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "tests/bench/lines.h"
#include "tests/bench/peak_memory.h"

namespace retort::bench {

/// All lines, each on every number of cores asked for. Construct before any tensor work.
class Program {
 public:
  Program(const Sizes& sizes, bool judge_memory);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// "best/dm/rgb/cores:2". Google Benchmark then runs them; this object must still be there.
  void register_lines(const std::vector<int>& cores);
  /// Whether in all lines run so far both sides computed the same and ours needed no more memory.
  bool all_well() const { return all_well_; }

 private:
  void run(benchmark::State& state, std::size_t index, int cores);
  void report_memory(benchmark::State& state, std::size_t index, int cores);
  double our_peak(std::size_t index, int cores);

  Scene scene_;
  std::vector<Line> lines_;
  PeakMemory memory_;
  bool judge_memory_;
  bool all_well_ = true;
  std::map<std::pair<std::string, int>, double> our_peaks_;  ///< of work and cores
};

}  // namespace retort::bench
