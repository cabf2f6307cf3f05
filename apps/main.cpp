#include <cstdio>
#include <string>
#include <unistd.h>

#include "apps/cli/signals.h"
#include "apps/cli/terminal.h"
#include "apps/program.h"
#include "lib/core/log.h"
#include "lib/core/memory.h"

int main(int argc, char** argv) {
  using namespace retort;
  tune_allocator();
  cli::Terminal terminal(stderr, isatty(STDERR_FILENO) != 0);
  log::set_sink(
      [&terminal](log::Level level, const std::string& message) { terminal.log(level, message); });
  cli::Program program{terminal, cli::install_signal_handlers()};
  return run_program({argv + 1, argv + argc}, program);
}
