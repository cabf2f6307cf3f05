#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "lib/core/files.h"
#include "lib/core/rng.h"
#include "lib/storage/set_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::testing;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> command(const std::string& run, const std::vector<std::string>& more) {
  std::vector<std::string> words{
      RETORT_PROGRAM, "condense", "--method",           "dm",      "--dataset",    "shapes",
      "--ipc",        "1",        "--iterations",       "120",     "--net",        "ConvNet-2-w8",
      "--batch-real", "8",        "--checkpoint-every", "7",       "--threads",    "1",
      "--run-dir",    run,        "--networks",         "trained", "--net-period", "10",
      "--net-batch",  "8"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::int64_t rows_written(const fs::path& metrics) {
  std::ifstream in(metrics);
  std::int64_t rows = -1;  // the header
  for (std::string line; std::getline(in, line);) ++rows;
  return rows;
}

/// The metrics without what a clock decides.
std::vector<std::string> losses(const fs::path& metrics) {
  std::ifstream in(metrics);
  std::vector<std::string> result;
  for (std::string line; std::getline(in, line);) {
    const auto loss_end = line.find(',', line.find(',') + 1);
    const auto seconds_end = line.find(',', loss_end + 1);
    result.push_back(line.substr(0, loss_end) + line.substr(std::min(seconds_end, line.size())));
  }
  return result;
}

/// Kills the run as soon as `reached`, wherever it is then.
/// @return false if it had ended by itself before the signal came, as it may on a loaded machine
bool start_and_kill(const fs::path& folder, const std::vector<std::string>& words,
                    const std::function<bool()>& reached) {
  Process process(words, folder);
  const ProcessResult result = signal_when(process, SIGKILL, reached);
  INFO(result.err);
  CHECK((result.exit_code == 0 || result.exit_code == 128 + SIGKILL));
  return result.exit_code != 0;
}

bool kill_after_rows(const fs::path& folder, const std::string& run, std::int64_t rows,
                     const std::vector<std::string>& more) {
  return start_and_kill(folder, command(run, more),
                        [&] { return rows_written(folder / run / "metrics.csv") >= rows; });
}

/// Killed after about `first` and, resumed, about `second` iterations; an earlier moment is tried
/// when the run ends before the signal comes.
void kill_twice(const fs::path& folder, std::int64_t first, std::int64_t second) {
  while (!kill_after_rows(folder, "killed", first, {})) {
    REQUIRE(first > 1);
    first /= 2;
    fs::remove_all(folder / "killed");
  }
  if (!kill_after_rows(folder, "killed", second, {"--resume"})) {
    WARN("the resumed run ended before it could be killed");
  }
}

/// Real time decides where exactly a signal lands; the moments aimed at differ from run to run,
/// unless RETORT_TEST_SEED repeats one.
std::uint64_t seed_of_moments() {
  const char* chosen = std::getenv("RETORT_TEST_SEED");
  if (chosen != nullptr && *chosen != '\0') return std::stoull(chosen);
  return std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()) % 1'000'000;
}

void check_same_run(const fs::path& whole, const fs::path& other) {
  CHECK(at::equal(storage::read_set(whole / "set.h5").images,
                  storage::read_set(other / "set.h5").images));
  CHECK(losses(whole / "metrics.csv") == losses(other / "metrics.csv"));
  CHECK(read_text(whole / "config.cfg") == read_text(other / "config.cfg"));
  CHECK_FALSE(fs::exists(other / "checkpoint.h5"));
  for (const auto& entry : fs::directory_iterator(other)) {
    INFO(entry.path());
    CHECK_FALSE(target_of_temporary(entry.path()).has_value());
  }
}

}  // namespace

TEST_CASE("a run killed at random moments and resumed ends in the bits of one never stopped",
          "[apps][resume]") {
  const TemporaryFolder folder("retort-kill-test");
  const fs::path& root = folder.path();
  CHECK(Process(command("whole", {}), root).wait().exit_code == 0);

  const std::uint64_t seed = seed_of_moments();
  Rng rng(seed);
  const std::int64_t first = 1 + rng.integer(40);
  const std::int64_t second = first + 1 + rng.integer(40);
  INFO("killed after about " << first << " and " << second
                             << " iterations, RETORT_TEST_SEED=" << seed);
  kill_twice(root, first, second);
  // A kill rarely comes within a write: what it leaves then.
  write_text(root / "killed" / "checkpoint.h5.tmp.1", "half a checkpoint");
  const ProcessResult resumed = Process(command("killed", {"--resume"}), root).wait();
  INFO(resumed.err);
  REQUIRE(resumed.exit_code == 0);
  check_same_run(root / "whole", root / "killed");
  CHECK(rows_written(root / "killed" / "metrics.csv") == 120);
}

TEST_CASE("a run killed while it prepares is resumed by its folder alone", "[apps][resume]") {
  const TemporaryFolder folder("retort-kill-early-test");
  const fs::path& root = folder.path();
  const auto slow_start = [](const std::string& run) {
    return std::vector<std::string>{RETORT_PROGRAM,
                                    "condense",
                                    "--method",
                                    "dm",
                                    "--dataset",
                                    "shapes",
                                    "--init",
                                    "k-means",
                                    "--iterations",
                                    "2",
                                    "--feature-epochs",
                                    "20",
                                    "--net",
                                    "ConvNet-2-w8",
                                    "--threads",
                                    "1",
                                    "--batch-real",
                                    "8",
                                    "--run-dir",
                                    run,
                                    "--feature-net",
                                    "ConvNet-2-w8"};
  };
  CHECK(Process(slow_start("whole"), root).wait().exit_code == 0);
  const fs::path run = root / "killed";
  const bool killed =
      start_and_kill(root, slow_start("killed"), [&] { return fs::exists(run / "config.cfg"); });
  REQUIRE(killed);
  CHECK_FALSE(fs::exists(run / "checkpoint.h5"));
  const ProcessResult refused = Process(slow_start("killed"), root).wait();
  CHECK(refused.exit_code == 2);
  const ProcessResult resumed =
      Process({RETORT_PROGRAM, "condense", "--resume", "--run-dir", "killed"}, root).wait();
  INFO(resumed.err);
  REQUIRE(resumed.exit_code == 0);
  check_same_run(root / "whole", run);
}

TEST_CASE("two runs with one seed store the same bytes of pixels", "[apps][determinism]") {
  const TemporaryFolder folder("retort-seed-test");
  CHECK(Process(command("a", {"--seed", "3"}), folder.path()).wait().exit_code == 0);
  CHECK(Process(command("b", {"--seed", "3"}), folder.path()).wait().exit_code == 0);
  CHECK(at::equal(storage::read_set(folder.path() / "a" / "set.h5").images,
                  storage::read_set(folder.path() / "b" / "set.h5").images));
}
