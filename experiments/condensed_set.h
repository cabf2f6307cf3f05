#pragma once
// Sets that studies condense on their way, each in a run folder of its own.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "lib/core/progress.h"
#include "lib/core/stop.h"
#include "lib/data/synthetic_set.h"
#include "methods/method.h"

namespace retort::experiments {

/// The set of a run folder that is finished, with all that lies beside it; none for another
/// configuration.
/// @throws DataError if it was condensed from other data than those of this SHA-256
std::optional<data::SyntheticSet> finished_set(const std::filesystem::path& folder,
                                               const std::string& config,
                                               const std::string& dataset_sha256);

struct SetPlan {
  methods::DistillationMethod& method;
  methods::RunContext& context;
  std::filesystem::path folder;  ///< a run that lies there goes on
  std::string config;            ///< `key = value` lines, kept with the set
  data::Provenance provenance;   ///< but for the configuration
  std::string go_on;             ///< the command that continues an interrupted study
};
/// @throws as methods::run
data::SyntheticSet condensed_set(const SetPlan& plan, ProgressSink& progress, const StopFlag& stop);

}  // namespace retort::experiments
