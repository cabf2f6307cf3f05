#include "tests/bench/program.h"

#include <iterator>

#include "lib/core/parallel.h"
#include "lib/core/str.h"

namespace retort::bench {
namespace {

constexpr double kMegabyte = 1e6;
/// Resident sets of the same work differ by a few percent from run to run.
constexpr double kMemoryNoise = 1.05;

std::vector<Line> all_lines(Scene& scene) {
  std::vector<Line> lines;
  for (const auto make : {feature_lines, matching_lines, gradient_lines, training_lines,
                          stacked_lines, trajectory_lines, mixed_lines, recover_lines}) {
    auto some = make(scene);
    std::move(some.begin(), some.end(), std::back_inserter(lines));
  }
  return lines;
}

/// What a process does whose memory is measured. Twice, since what the first round keeps may be in
/// the way of the second.
void run_side(const Line& line, const MemoryRequest& request) {
  set_thread_count(request.cores);
  const auto comparison = line.make();
  for (const std::int64_t round : {0, 1}) {
    if (request.plain != 0) {
      comparison->plain(round);
    } else {
      comparison->ours(round);
    }
  }
}

}  // namespace

Program::Program(const Sizes& sizes, bool judge_memory)
    : scene_{sizes, Workloads(sizes), {}},
      lines_(all_lines(scene_)),
      memory_([this](const MemoryRequest& request) {
        run_side(lines_[std::size_t(request.line)], request);
      }),
      judge_memory_(judge_memory) {}

void Program::register_lines(const std::vector<int>& cores) {
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    for (const int count : cores) {
      const std::string name = str(lines_[i].opponent, "/", lines_[i].work, "/cores:", count);
      benchmark::RegisterBenchmark(
          name.c_str(), [this, i, count](benchmark::State& state) { run(state, i, count); })
          ->Iterations(scene_.sizes.rounds)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

void Program::run(benchmark::State& state, std::size_t index, int cores) {
  set_thread_count(cores);
  const auto comparison = lines_[index].make();
  if (!run_comparison(state, *comparison)) {
    all_well_ = false;
    return;
  }
  report_memory(state, index, cores);
}

void Program::report_memory(benchmark::State& state, std::size_t index, int cores) {
  const double ours = our_peak(index, cores);
  const double plain =
      memory_.of({.line = std::int32_t(index), .plain = 1, .cores = std::int32_t(cores)});
  state.counters["ours_mb"] = ours / kMegabyte;
  state.counters["plain_mb"] = plain / kMegabyte;
  // Two ways of our own: several networks at once do need more than one after the other.
  const bool ours_alone = lines_[index].opponent == "serial" || lines_[index].opponent == "fp32";
  const bool judged = judge_memory_ && !ours_alone;
  if (!judged || ours <= kMemoryNoise * plain) return;
  state.SetLabel("needs more memory than plain LibTorch");
  all_well_ = false;
}

double Program::our_peak(std::size_t index, int cores) {
  const std::pair key{lines_[index].work, cores};
  const auto known = our_peaks_.find(key);
  if (known != our_peaks_.end()) return known->second;
  return our_peaks_[key] =
             memory_.of({.line = std::int32_t(index), .plain = 0, .cores = std::int32_t(cores)});
}

}  // namespace retort::bench
