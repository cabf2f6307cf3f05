#pragma once
// What the cells of a sweep are predicted to cost.

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/sweep_folder.h"
#include "lib/sweep/schedule.h"

namespace retort::commands {

/// Of condensing, experts that are missing among it; how sets are judged is not predicted.
struct SweepPrediction {
  std::optional<double> seconds;  ///< none: not known
  double memory_bytes = 0;        ///< rough; 0: not known
};

/// By group, of every group that has a cell without a set: `condense --dry-run` in a process of its
/// own, several at a time. What cannot be predicted is left out, with a warning.
/// @throws Interrupted
std::map<std::size_t, SweepPrediction> predict_cells(const SweepFolder& folder,
                                                     const std::vector<const SweepCell*>& cells,
                                                     const sweep::Budget& budget,
                                                     cli::Program& program);

}  // namespace retort::commands
