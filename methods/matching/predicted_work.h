#pragma once

#include "methods/matching/matching_options.h"
#include "methods/matching/objective.h"
#include "methods/method.h"

namespace retort::methods::matching {

/// What a run will cost.  @param options settled for run.ipc
Work predicted_work(const MatchingOptions& options, const Objective& objective,
                    const RunContext& run);

}  // namespace retort::methods::matching
