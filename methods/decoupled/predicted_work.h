#pragma once

#include <vector>

#include "lib/train/committee.h"
#include "methods/decoupled/recover_options.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

/// What recovering will cost.
Work predicted_work(const RecoverOptions& options, const std::vector<train::Member>& teachers,
                    const RunContext& run);

}  // namespace retort::methods::decoupled
