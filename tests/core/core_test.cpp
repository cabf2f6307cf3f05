#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sys/stat.h>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/file_lock.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/rng.h"
#include "lib/core/shape.h"
#include "lib/core/speed.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"
#include "tests/support/file_limit.h"
#include "tests/support/process.h"

using namespace retort;
using retort::testing::check_inclusions;
using retort::testing::check_uniform;

namespace {

std::vector<std::int64_t> values_of(const std::map<std::vector<std::int64_t>, std::int64_t>& map) {
  std::vector<std::int64_t> values;
  for (const auto& [key, value] : map) values.push_back(value);
  return values;
}

}  // namespace

TEST_CASE("a child stream does not depend on what the parent drew", "[core][rng]") {
  Rng a(7);
  Rng b(7);
  b.bits();
  CHECK(a.child("init").bits() == b.child("init").bits());
  CHECK(a.child("init").bits() != a.child("batch").bits());
  CHECK(a.child("init", 0).bits() != a.child("init", 1).bits());
  CHECK(Rng(7).child("init").bits() != Rng(8).child("init").bits());
}

TEST_CASE("uniform, normal and integer draws have the promised distribution", "[core][rng]") {
  constexpr int kDraws = 100000;
  Rng rng = Rng(1).child("distribution");
  double sum = 0;
  double squares = 0;
  std::vector<int> histogram(10);
  for (int i = 0; i < kDraws; ++i) ++histogram[std::size_t(rng.uniform() * 10)];
  // Binomial(1e5, 0.1): 4 sigma is 380.
  for (const int count : histogram) CHECK(std::abs(count - kDraws / 10) < 380);
  for (int i = 0; i < kDraws; ++i) {
    const double z = rng.normal();
    sum += z;
    squares += z * z;
  }
  CHECK(std::abs(sum / kDraws) < 4 / std::sqrt(double(kDraws)));
  CHECK(std::abs(squares / kDraws - 1) < 4 * std::sqrt(2.0 / kDraws));
  std::vector<int> values(7);
  for (int i = 0; i < kDraws; ++i) ++values[std::size_t(rng.integer(7))];
  const double expected = kDraws / 7.0;
  for (const int count : values)
    CHECK(std::abs(count - expected) < 4 * std::sqrt(expected * 6 / 7));
}

namespace {

/// Work on a clock of its own, which takes longer the first time with so many items.
struct TimedWork {
  double seconds = 0;    ///< of an item
  double preparing = 0;  ///< once for every number of items
  double now = 0;
  std::vector<std::int64_t> asked = {};

  double speed(std::int64_t most, std::int64_t unit) {
    const auto work = [this](std::int64_t items) {
      const bool first = std::find(asked.begin(), asked.end(), items) == asked.end();
      asked.push_back(items);
      now += seconds * double(items) + (first ? preparing : 0);
    };
    return seconds_per_item(most, unit, work, [this] { return now; });
  }
};

}  // namespace

TEST_CASE("the speed of work is that of all of it, or of some where that takes long",
          "[core][speed]") {
  TimedWork quick{.seconds = 0.0005};
  CHECK(quick.speed(100, 1) == Approx(0.0005));
  CHECK(quick.asked.front() == 16);
  CHECK(quick.asked.back() == 100);
  TimedWork slow{.seconds = 0.006};
  CHECK(slow.speed(1000, 5) == Approx(0.006));
  CHECK(slow.asked == std::vector<std::int64_t>{20, 20});
  TimedWork few{.seconds = 0.001};
  CHECK(few.speed(3, 8) == Approx(0.001));
  CHECK(std::set(few.asked.begin(), few.asked.end()) == std::set<std::int64_t>{3});
}

TEST_CASE("preparing memory for more items does not count as the speed of work", "[core][speed]") {
  TimedWork work{.seconds = 0.001, .preparing = 1};
  CHECK(work.speed(1000, 1) == Approx(0.001));
  CHECK(work.asked.back() == 256);
  double now = 0;
  bool first = true;
  const auto whole = [&] { now += std::exchange(first, false) ? 1 : 0.2; };
  CHECK(seconds_of(whole, [&] { return now; }) == Approx(0.2));
}

TEST_CASE("the speed of work is that of its fastest time", "[core][speed]") {
  double now = 0;
  int times = 0;
  const auto disturbed = [&] { now += ++times % 3 == 0 ? 0.01 : 0.03; };
  CHECK(seconds_of(disturbed, [&] { return now; }) == Approx(0.01));
}

TEST_CASE("every position of a permutation is uniform, and permutations do not repeat a value",
          "[core][rng]") {
  constexpr int kDraws = 100000;
  std::vector<std::vector<std::int64_t>> counts(5, std::vector<std::int64_t>(5));
  std::map<std::vector<std::int64_t>, std::int64_t> orders;
  for (int i = 0; i < kDraws; ++i) {
    const auto p = Rng(2).child("permutation", i).permutation(5);
    REQUIRE(std::set<std::int64_t>(p.begin(), p.end()).size() == 5);
    for (std::size_t k = 0; k < 5; ++k) ++counts[k][std::size_t(p[k])];
    ++orders[p];
  }
  for (const auto& position : counts) check_uniform(position);
  REQUIRE(orders.size() == 120);
  check_uniform(values_of(orders));
}

TEST_CASE("a sample holds every element equally often, in every slot and every order",
          "[core][rng]") {
  constexpr std::int64_t kDraws = 100000;
  constexpr std::int64_t kCount = 7;
  constexpr std::int64_t kTake = 3;
  std::vector<std::int64_t> drawn(kCount);
  std::vector<std::vector<std::int64_t>> slots(kTake, std::vector<std::int64_t>(kCount));
  std::map<std::vector<std::int64_t>, std::int64_t> orders;
  Rng rng = Rng(3).child("sample");
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const auto sample = rng.sample(kCount, kTake);
    REQUIRE(std::set<std::int64_t>(sample.begin(), sample.end()).size() == kTake);
    for (std::size_t slot = 0; slot < sample.size(); ++slot) {
      ++drawn[std::size_t(sample[slot])];
      ++slots[slot][std::size_t(sample[slot])];
    }
    ++orders[sample];
  }
  check_inclusions(drawn, kDraws, kTake);
  for (const auto& slot : slots) check_uniform(slot);
  REQUIRE(orders.size() == 7 * 6 * 5);
  check_uniform(values_of(orders));
  CHECK_THROWS_WITH_TEXT(Rng(0).sample(3, 4), ConfigError, "cannot take 4 of 3");
}

TEST_CASE("tasks all run once, in any order, and the first error comes back", "[core][parallel]") {
  std::vector<int> hits(100);
  parallel_tasks(100, [&](std::int64_t i) { hits[std::size_t(i)] += 1; });
  CHECK(std::all_of(hits.begin(), hits.end(), [](int h) { return h == 1; }));
  CHECK_THROWS_WITH_TEXT(parallel_tasks(4,
                                        [](std::int64_t i) {
                                          if (i >= 2) throw DataError("task " + std::to_string(i));
                                        }),
                         DataError, "task 2");
  std::atomic<int> nested{0};
  parallel_tasks(3, [&](std::int64_t) { parallel_tasks(2, [&](std::int64_t) { ++nested; }); });
  CHECK(nested == 6);
}

TEST_CASE("a failed write leaves the old file and no litter", "[core][files]") {
  const testing::TemporaryFolder home("retort-files-test");
  const auto& folder = home.path();
  const auto path = folder / "a.txt";
  write_text(path, "old");
  CHECK_THROWS_WITH_TEXT(write_atomically(path,
                                          [](const auto& temporary) {
                                            std::ofstream(temporary) << "half";
                                            throw StorageError("disk full");
                                          }),
                         StorageError, "disk full");
  CHECK(read_text(path) == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  CHECK_THROWS_WITH_TEXT(read_text(folder / "missing"), StorageError, "missing");
}

TEST_CASE("the name of a temporary file tells what it was to become", "[core][files]") {
  const testing::TemporaryFolder home("retort-temporary-test");
  const auto path = home.path() / "a.tmp.txt";
  write_atomically(path, [&](const auto& temporary) {
    std::ofstream(temporary) << "new";
    CHECK(target_of_temporary(temporary) == path);
  });
  for (const char* other : {"a.txt", "a.tmp.", "a.tmp.12x", "a.tmp.12/b"}) {
    INFO(other);
    CHECK_FALSE(target_of_temporary(other).has_value());
  }
}

TEST_CASE("a path that cannot be written is found out at once and leaves nothing",
          "[core][files]") {
  const retort::testing::TemporaryFolder folder("retort-writable-test");
  CHECK_NOTHROW(expect_writable(folder.path() / "new" / "a.txt"));
  CHECK(std::filesystem::is_empty(folder.path() / "new"));
  CHECK_THROWS_WITH_TEXT(expect_writable(folder.path()), StorageError, "is a folder");
  write_text(folder.path() / "file", "x");
  CHECK_THROWS_WITH_TEXT(expect_writable(folder.path() / "file" / "b"), StorageError,
                         "cannot be written");
}

TEST_CASE("what the system says when a file cannot be written is passed on", "[core][files]") {
  const testing::TemporaryFolder folder("retort-limit-test");
  const auto path = folder.path() / "a.txt";
  write_text(path, "before");
  std::string message;
  {
    const testing::FileLimit limit(16);
    try {
      write_text(path, std::string(1000, 'x'));
    } catch (const StorageError& e) {
      message = e.what();
    }
  }
  CHECK_THAT(message, Catch::Matchers::Contains("a.txt': cannot be written: File too large"));
  CHECK(read_text(path) == "before");
}

TEST_CASE("no file takes the place of a pipe or a device", "[core][files]") {
  const testing::TemporaryFolder folder("retort-pipe-test");
  const auto pipe = folder.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THROWS_WITH_TEXT(expect_writable(pipe), StorageError, "is a device, a pipe or a socket");
  CHECK_THROWS_WITH_TEXT(write_text(pipe, "x"), StorageError, "is a device, a pipe or a socket");
  CHECK(std::filesystem::is_fifo(pipe));
}

TEST_CASE("a lock has one holder, and a removed lock file means nothing", "[core][files]") {
  const testing::TemporaryFolder folder("retort-lock-test");
  const auto path = folder.path() / "deep" / "one.lock";
  {
    const FileLock held = FileLock::wait(path);
    CHECK_FALSE(FileLock::try_now(path));
    held.remove_file();
    CHECK_FALSE(std::filesystem::exists(path));
    CHECK(FileLock::try_now(path));
  }
  std::optional<FileLock> held = FileLock::try_now(path);
  REQUIRE(held);
  std::optional<FileLock> moved = std::move(held);
  held.reset();
  CHECK_FALSE(FileLock::try_now(path));
  moved.reset();
  CHECK(FileLock::try_now(path));
  CHECK_THROWS_WITH_TEXT(FileLock::wait(folder.path()), StorageError, "cannot be locked");
}

TEST_CASE("SHA-256 gives the published digest of abc", "[core][hash]") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("an unknown name is answered with the nearest known one", "[core][names]") {
  const std::vector<std::string> known{"random", "herding", "dm"};
  CHECK(nearest_name("herdng", known) == "herding");
  CHECK(nearest_name("HERDING", known) == "herding");
  CHECK(nearest_name("zzzzzzzz", known).empty());
  CHECK_THAT(
      unknown_name_message("method", "randm", known),
      Catch::Matchers::Contains("did you mean 'random'") && Catch::Matchers::Contains("herding"));
}

TEST_CASE("a slip of the keys is recognised, another word is not", "[core][names]") {
  const std::vector<std::string> known{"fyi", "zca", "ipc", "dm", "batch-real"};
  // A letter left out, put in, replaced; two neighbours swapped.
  CHECK(nearest_name("ip", known) == "ipc");
  CHECK(nearest_name("fyii", known) == "fyi");
  CHECK(nearest_name("fya", known) == "fyi");
  CHECK(nearest_name("md", known) == "dm");
  CHECK(nearest_name("zac", known) == "zca");
  CHECK(nearest_name("batch-rael", known) == "batch-real");
  CHECK(nearest_name("btahcreal", known) == "batch-real");  // 3 of 9
  CHECK(nearest_name("foo", known).empty());
  CHECK(nearest_name("fog", known).empty());
  CHECK(nearest_name("q", known).empty());
  CHECK(nearest_name("", known).empty());
  CHECK(nearest_name("real-batch", known).empty());
}

TEST_CASE("a wrong shape is named with both shapes", "[core][shape]") {
  CHECK_NOTHROW(expect_shape(at::zeros({4, 3, 2, 2}), {-1, 3, 2, 2}, "images"));
  CHECK_THROWS_WITH_TEXT(expect_shape(at::zeros({4, 1}), {-1, 3}, "images"), ConfigError,
                         "images: expected shape [*, 3], found [4, 1]");
}

TEST_CASE("context goes in front and the type stays", "[core][error]") {
  CHECK_THROWS_WITH_TEXT(with_context("loading 'a.h5'", [] { throw StorageError("no rows"); }),
                         StorageError, "loading 'a.h5': no rows");
}

TEST_CASE("context leaves alone what it would have to make less of", "[core][error]") {
  class Missing : public DataError {
   public:
    using DataError::DataError;
  };
  CHECK_THROWS_AS(with_context("opening", [] { throw Missing("no file"); }), Missing);
  CHECK_THROWS_AS(with_context("training", [] { throw Interrupted("stopped"); }), Interrupted);
}
