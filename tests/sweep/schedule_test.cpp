#include "lib/sweep/schedule.h"

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::sweep;

TEST_CASE("cells run side by side as long as jobs, threads and memory allow", "[sweep]") {
  const Demand small{.threads = 1, .memory_bytes = 2};
  const Demand large{.threads = 3, .memory_bytes = 7};
  CHECK(Budget{}.fits({large, large, large}, large));
  const Budget budget{.jobs = 3, .threads = 5, .memory_bytes = 10};
  CHECK(budget.fits({}, large));
  CHECK(budget.fits({large}, small));
  CHECK_FALSE(budget.fits({large}, large));
  CHECK_FALSE(budget.fits({large, small}, small));  // 11 bytes
  CHECK_FALSE(budget.fits({small, small, small}, Demand{}));
  CHECK_FALSE(Budget{.threads = 2}.fits({}, large));
  // A device has one cell at a time unless somebody says otherwise.
  const Demand first{.devices = {"cuda:0"}};
  const Demand second{.devices = {"cuda:1"}};
  CHECK_FALSE(Budget{}.fits({first}, first));
  CHECK(Budget{}.fits({first}, second));
  CHECK(Budget{}.fits({first}, small));
  CHECK(Budget{.shared_devices = true}.fits({first}, first));
}

TEST_CASE("shards take every cell once", "[sweep]") {
  const Shard first = parse_shard("0/3");
  const Shard last = parse_shard("2/3");
  CHECK(first.has(0));
  CHECK_FALSE(first.has(1));
  CHECK(first.has(3));
  CHECK(last.has(5));
  CHECK(parse_shard("0/1").has(17));
  for (const char* wrong : {"", "1", "3/3", "-1/2", "1/x", "0/0", "1/2/3"}) {
    CHECK_THROWS_WITH_TEXT(parse_shard(wrong), ConfigError, "option 'shard': expected i/n");
  }
}

TEST_CASE("sizes are read with their unit", "[sweep]") {
  CHECK(parse_bytes("memory", "16G") == 16.0 * 1024 * 1024 * 1024);
  CHECK(parse_bytes("memory", "2.5m") == 2.5 * 1024 * 1024);
  CHECK(parse_bytes("memory", "1T") == 1024.0 * 1024 * 1024 * 1024);
  CHECK(parse_bytes("memory", "4096") == 4096);
  for (const char* wrong : {"", "G", "1GB", "0", "-1G", "1X"}) {
    CHECK_THROWS_WITH_TEXT(parse_bytes("memory", wrong), ConfigError, "such as 16G or 900M");
  }
}

TEST_CASE("the time left follows how predictions came out", "[sweep]") {
  Pace pace;
  const std::vector<Left> left{{10.0, 2}, {std::nullopt, 1}, {0.0, 1}};
  CHECK_FALSE(pace.seconds_left(left, 1, 0));
  pace.condensed(5.0, 10.0);          // twice as long as predicted
  pace.condensed(std::nullopt, 2.0);  // six seconds in the mean
  CHECK_FALSE(pace.seconds_left(left, 1, 0));
  pace.evaluated(3.0);
  CHECK(pace.seconds_left(left, 1, 0).value() == Approx(20 + 6 + 9 + 0 + 3));
  CHECK(pace.seconds_left(left, 2, 4).value() == Approx(22));  // the longest cell decides
  CHECK(pace.seconds_left({}, 2, 4).value() == 0);
}
