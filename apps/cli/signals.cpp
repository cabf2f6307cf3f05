#include "apps/cli/signals.h"

#include <csignal>
#include <unistd.h>

namespace retort::cli {
namespace {

StopFlag stop_flag;

// Only async-signal-safe calls here.
void handle(int) {
  if (stop_flag.requested()) _exit(130);
  stop_flag.request();
  constexpr char kMessage[] = "\nstopping at the next safe point; once more to leave at once\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
}

}  // namespace

StopFlag& install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;  // file reads go on
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return stop_flag;
}

}  // namespace retort::cli
