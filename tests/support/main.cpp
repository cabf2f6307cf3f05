#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"

// A warning nobody expects is a failure; tests that expect one install their own sink.
int main(int argc, char** argv) {
  retort::set_thread_count(1);
  retort::log::set_sink([](retort::log::Level level, const std::string& message) {
    if (level != retort::log::Level::Info) throw retort::Error("unexpected warning: " + message);
  });
  return Catch::Session().run(argc, argv);
}
