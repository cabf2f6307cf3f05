#pragma once
// Which experts the options of a run ask for.

#include <string>
#include <vector>

#include "lib/config/differences.h"
#include "lib/storage/expert_file.h"
#include "methods/method.h"
#include "methods/trajectory_matching/trajectory_options.h"

namespace retort::methods::trajectory_matching {

/// The command that makes experts for a run of these options.
/// @param out the file
std::string experts_command(const TrajectoryOptions& options, const RunContext& run,
                            const std::string& out);

/// What of the recipe that experts were trained by, as far as their file says it, is not what the
/// options ask for. Of epochs only that there are too few, where the last snapshot matters: which
/// of them are followed is another question.
/// @throws ConfigError for settings that the recipe does not have
std::vector<config::Difference> recipe_differences(const storage::ExpertInfo& experts,
                                                   const TrajectoryOptions& options);

}  // namespace retort::methods::trajectory_matching
