// retort_bench: what users run against plain LibTorch, in ratios. See README.md.

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/memory.h"
#include "lib/core/str.h"
#include "lib/kernels/loops/loops.h"
#include "tests/bench/program.h"

namespace {

using namespace retort;

struct Arguments {
  bool small = false;
  std::vector<int> cores = {1, 2};
  std::optional<int> rounds;
  std::string loops;
};

/// The number behind `name` if `text` is "--name=number".
std::optional<int> number_of(std::string_view text, std::string_view name) {
  if (!text.starts_with(name)) return std::nullopt;
  text.remove_prefix(name.size());
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
    throw ConfigError(str(name, " takes a number of 1 or more, found '", text, "'"));
  }
  return value;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    if (text == "--small") {
      arguments.small = true;
    } else if (const auto cores = number_of(text, "--cores=")) {
      arguments.cores = {*cores};
    } else if (const auto rounds = number_of(text, "--rounds=")) {
      arguments.rounds = *rounds;
    } else if (text.starts_with("--loops=")) {
      arguments.loops = text.substr(text.find('=') + 1);
    } else {
      throw ConfigError(str("unknown argument '", text,
                            "'. Known: --small, --cores=N, --rounds=N, --loops=NAME, and Google "
                            "Benchmark's "
                            "own (--benchmark_filter=..., --benchmark_out=...)"));
    }
  }
  return arguments;
}

/// Ours runs on these instead of the processor's best.
void use_loops(const std::string& name) {
  std::vector<std::string> known;
  const kernels::AvailableLoops available = kernels::available_loops();
  for (int i = 0; i < available.count; ++i) {
    known.emplace_back(available.loops[i]->name);
    if (known.back() == name) return kernels::use_loops(available.loops[i]);
  }
  throw ConfigError(str("--loops takes one of ", join(known), ", found '", name, "'"));
}

void warn_if_busy() {
  double load = 0;
  if (getloadavg(&load, 1) != 1 || load < 0.7) return;
  std::fprintf(stderr,
               "retort_bench: the load average is %.1f. LibTorch's threads wait for each other by "
               "spinning, so on a busy machine the ratios of plain LibTorch come out too high, up "
               "to several times; wait, or compare with OMP_WAIT_POLICY=passive.\n",
               load);
}

int run(const Arguments& arguments) {
  if (!arguments.small) warn_if_busy();
  if (!arguments.loops.empty()) use_loops(arguments.loops);
  bench::Sizes sizes = arguments.small ? bench::small_sizes() : bench::Sizes{};
  if (arguments.rounds) sizes.rounds = *arguments.rounds;
  bench::Program program(sizes, /*judge_memory=*/!arguments.small);
  program.register_lines(arguments.cores);
  benchmark::AddCustomContext("processor", processor_name());
  benchmark::AddCustomContext("loops", kernels::best_loops()->name);
  benchmark::AddCustomContext("sizes",
                              arguments.small ? "small: times mean nothing" : "production");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return program.all_well() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  tune_allocator();
  benchmark::Initialize(&argc, argv);
  try {
    return run(parse(argc, argv));
  } catch (const ConfigError& error) {
    std::fprintf(stderr, "retort_bench: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "retort_bench: %s\n", error.what());
    return 1;
  }
}
