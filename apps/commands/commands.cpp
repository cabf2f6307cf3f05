#include "apps/commands/commands.h"

namespace retort::commands {

const std::vector<cli::Command>& all_commands() {
  static const std::vector<cli::Command> commands = {
      condense(), evaluate(),  experts(), teachers(),   relabel(),
      sweep(),    continual(), nas(),     show(),       report_sets(),
      info(),     verify(),    list(),    export_set(), import_set(),
  };
  return commands;
}

}  // namespace retort::commands
