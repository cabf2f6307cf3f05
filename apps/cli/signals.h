#pragma once

#include "lib/core/stop.h"

namespace retort::cli {

/// SIGINT and SIGTERM end the process with code 130, at once until expect_polling() was called.
/// After it the first one raises the returned flag, so that a run can save and leave, and only the
/// second one ends the process.
StopFlag& install_signal_handlers();

/// Said by a command from where on it polls the flag.
void expect_polling();

}  // namespace retort::cli
