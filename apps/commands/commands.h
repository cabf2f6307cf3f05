#pragma once

#include <vector>

#include "apps/cli/command.h"

namespace retort::commands {

/// THE list of subcommands, in the order of `retort --help`.
const std::vector<cli::Command>& all_commands();

cli::Command condense();
cli::Command evaluate();
cli::Command experts();
cli::Command teachers();
cli::Command relabel();
cli::Command sweep();
cli::Command continual();
cli::Command nas();
cli::Command show();
cli::Command report_sets();
cli::Command info();
cli::Command verify();
cli::Command list();
cli::Command export_set();
cli::Command import_set();

}  // namespace retort::commands
