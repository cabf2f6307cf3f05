#pragma once

#include <string>
#include <vector>

#include "apps/cli/command.h"

namespace retort {

/// The whole program but for what main sets up: dispatches `words` and holds the one catch.
/// @return exit code: 0, 1 failure, 2 asked wrongly, 130 interrupted
int run_program(const std::vector<std::string>& words, cli::Program& program);

}  // namespace retort
