#pragma once

#include "methods/method.h"
#include "methods/trajectory_matching/trajectory_options.h"

namespace retort::methods::trajectory_matching {

/// What a run will cost. Needs no experts: their number is taken to be the papers'.
Work predicted_work(const TrajectoryOptions& options, const RunContext& run);

}  // namespace retort::methods::trajectory_matching
