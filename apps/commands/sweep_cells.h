#pragma once
// The cells of a sweep as runs of this program, checked before any of them starts.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/sweep/grid.h"
#include "lib/sweep/sweep_file.h"

namespace retort::commands {

/// One way in which the set of a cell is judged.
struct SweepEvaluation {
  sweep::Options options;
  std::vector<std::string> words;  ///< flags of `retort evaluate`
  std::string file;                ///< name of its result, which other options do not share
};

struct SweepCell {
  sweep::Options options;  ///< what the sweep says of the run
  sweep::Options labels;   ///< method, dataset, ipc, and what differs between cells, but the seed
  std::size_t group = 0;   ///< the same for cells that differ in the seed alone
  std::string name;        ///< for people; where the cell lies is decided by `recorded`
  std::vector<std::string> words;      ///< flags of `retort condense`
  std::string recorded;                ///< `key = value` lines of all that decides what is made
  std::int64_t threads = 1;            ///< the most that it computes with
  bool predictable = true;             ///< --dry-run knows what it costs
  std::vector<std::string> devices{};  ///< "cuda:0": what it computes on beside the processor
  bool has_budget = false;             ///< its time may end it, and its checkpoint then stays
  std::vector<SweepEvaluation> evaluations;
};

/// Expands the grid and asks `condense` and `evaluate` whether they understand every cell. A cell
/// that does not say how many threads it takes gets one.
/// @throws ConfigError naming the line, or the cell
std::vector<SweepCell> resolve_cells(sweep::SweepFile file);

}  // namespace retort::commands
