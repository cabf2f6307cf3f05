#include "apps/cli/signals.h"

#include <atomic>
#include <csignal>
#include <unistd.h>

namespace retort::cli {
namespace {

StopFlag stop_flag;
std::atomic<bool> polled{false};

// Only async-signal-safe calls here.
void handle(int) {
  if (stop_flag.requested() || !polled.load(std::memory_order_relaxed)) _exit(130);
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

void expect_polling() { polled.store(true, std::memory_order_relaxed); }

}  // namespace retort::cli
