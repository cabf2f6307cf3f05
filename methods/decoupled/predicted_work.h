#pragma once

#include "methods/decoupled/recover_options.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

/// What recovering will cost.  @param networks of the teachers; none: nothing is predicted
Work predicted_work(const RecoverOptions& options, const Networks& networks, const RunContext& run);

}  // namespace retort::methods::decoupled
