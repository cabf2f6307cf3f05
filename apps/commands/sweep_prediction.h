#pragma once
// What the cells of a sweep are predicted to cost.

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/sweep_folder.h"
#include "lib/sweep/schedule.h"

namespace retort::commands {

/// Of condensing, experts and teachers that are missing among it; how long sets are judged is not
/// predicted.
struct SweepPrediction {
  std::optional<double> seconds;  ///< none: not known
  double memory_bytes = 0;        ///< rough; 0: not known
  double judging_bytes = 0;       ///< the least that judging takes: the program with its data

  double bytes_of(bool condensed) const {
    return condensed ? judging_bytes : std::max(memory_bytes, judging_bytes);
  }
};

/// From what `condense --dry-run --json` says. @throws StorageError for another text
SweepPrediction read_prediction(const std::string& text);

/// By group, of every group that these cells are of: `condense --dry-run` in a process of its own,
/// several at a time. What cannot be predicted is left out, with a warning.
/// @throws Interrupted
std::map<std::size_t, SweepPrediction> predict_cells(const SweepFolder& folder,
                                                     const std::vector<const SweepCell*>& cells,
                                                     const sweep::Budget& budget,
                                                     cli::Program& program);

}  // namespace retort::commands
