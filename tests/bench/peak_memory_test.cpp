#include "tests/bench/peak_memory.h"

#include <vector>

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::bench;

TEST_CASE("peak memory counts what a request's own process touched", "[bench]") {
  PeakMemory memory([](const MemoryRequest& request) {
    if (request.line == 2) throw Error("no such line");
    const std::vector<char> touched(std::size_t(1 + request.line * 100'000'000), 'x');
    if (touched.back() != 'x') throw Error("never");  // or it would be optimised away
  });
  const double large = memory.of({.line = 1});
  const double small = memory.of({.line = 0});
  CHECK(large - small > 95e6);
  CHECK(large - small < 130e6);
  CHECK_THROWS_WITH_TEXT(memory.of({.line = 2}), Error, "did the work failed");
  CHECK(memory.of({.line = 0}) > 0);
}
