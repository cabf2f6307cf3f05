#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "apps/commands/sweep_folder.h"
#include "apps/commands/sweep_prediction.h"

namespace retort::commands {

/// What a sweep would do.
struct SweepPlan {
  std::string file;
  std::filesystem::path root;
  const std::vector<const SweepCell*>& cells;
  const SweepFolder& folder;
  std::map<std::size_t, SweepPrediction> predictions;
  const sweep::Budget& budget;
};

/// A line per cell, then the sums; or the document retort.sweep-plan/1.
void print_plan(const SweepPlan& plan, bool as_json);

}  // namespace retort::commands
