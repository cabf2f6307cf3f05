#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "lib/core/files.h"
#include "lib/core/rng.h"
#include "lib/storage/set_file.h"
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

/// Kills the run once its metrics show `iteration` rows, wherever it is then.
void start_and_kill(const fs::path& folder, const std::string& run, std::int64_t iteration,
                    const std::vector<std::string>& more) {
  Process process(command(run, more), folder);
  for (int wait = 0; wait < 6000 && rows_written(folder / run / "metrics.csv") < iteration;
       ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  process.signal(SIGKILL);
  CHECK(process.wait().exit_code == 128 + SIGKILL);
}

}  // namespace

TEST_CASE("a run killed at random moments and resumed ends in the bits of one never stopped",
          "[apps][resume]") {
  const TemporaryFolder folder("retort-kill-test");
  const fs::path& root = folder.path();
  CHECK(Process(command("whole", {}), root).wait().exit_code == 0);

  // Real time decides where exactly the signal lands; the moments aimed at differ from run to run.
  Rng rng(std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()));
  const std::int64_t first = 1 + rng.integer(40);
  const std::int64_t second = first + 1 + rng.integer(40);
  INFO("killed after about " << first << " and " << second << " iterations");
  start_and_kill(root, "killed", first, {});
  start_and_kill(root, "killed", second, {"--resume"});
  CHECK_FALSE(fs::exists(root / "killed" / "set.h5"));
  const ProcessResult resumed = Process(command("killed", {"--resume"}), root).wait();
  INFO(resumed.err);
  REQUIRE(resumed.exit_code == 0);

  const auto whole = storage::read_set(root / "whole" / "set.h5");
  const auto killed = storage::read_set(root / "killed" / "set.h5");
  CHECK(at::equal(whole.images, killed.images));
  CHECK(rows_written(root / "killed" / "metrics.csv") == 120);
}

TEST_CASE("two runs with one seed store the same bytes of pixels", "[apps][determinism]") {
  const TemporaryFolder folder("retort-seed-test");
  CHECK(Process(command("a", {"--seed", "3"}), folder.path()).wait().exit_code == 0);
  CHECK(Process(command("b", {"--seed", "3"}), folder.path()).wait().exit_code == 0);
  CHECK(at::equal(storage::read_set(folder.path() / "a" / "set.h5").images,
                  storage::read_set(folder.path() / "b" / "set.h5").images));
}
