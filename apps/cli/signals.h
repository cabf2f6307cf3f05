#pragma once

#include "lib/core/stop.h"

namespace retort::cli {

/// The first SIGINT or SIGTERM raises the returned flag, so that a run can save and leave; the
/// second one ends the process at once with code 130.
StopFlag& install_signal_handlers();

}  // namespace retort::cli
