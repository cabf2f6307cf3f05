// Runs that are stopped, killed or finished, and go on.
#include "lib/storage/set_file.h"
#include "tests/methods/scripted.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::scripted;

TEST_CASE("an interrupted run saves, says so, and goes on where it was", "[methods][resume]") {
  const Folder folder;
  StopFlag stop;
  Scripted first;
  first.stop = &stop;
  SECTION("raised during an update, which is finished") { first.stop_at = 2; }
  SECTION("noticed by an update, which is made again") { first.leave_at = 2; }
  CHECK_THROWS_WITH_TEXT(drive(first, folder.options(), stop), Interrupted, "--resume");
  CHECK(read_text(folder.run.log()).find("warning: stopped after iteration") != std::string::npos);
  Scripted second;
  const RunOutcome outcome = drive(second, folder.resuming());
  CHECK(first_pixel(outcome.set) == 15);
  CHECK(rows(folder.run.metrics()) == 6);
}

TEST_CASE("a stop while preparing leaves a folder that can be resumed", "[methods][resume]") {
  const Folder folder;
  drive_and_stop_preparing(folder.options());
  CHECK(read_text(folder.run.config()) == kConfig);
  Scripted second;
  DriverOptions other = folder.resuming();
  other.config_text = "method = scripted\nipc = 1\nseed = 2\niterations = 6\n";
  CHECK_THROWS_WITH_TEXT(drive(second, other), ConfigError, "seed: 1 / 2");
  CHECK(first_pixel(drive(second, folder.resuming()).set) == 15);
}

TEST_CASE("resuming a finished run writes the result again and trains nothing",
          "[methods][resume]") {
  const Folder folder;
  Scripted first;
  const RunOutcome outcome = drive(first, folder.options());
  CHECK(outcome.last_loss == 1.0);
  DriverOptions options = folder.resuming();
  options.out = folder.root / "copy.h5";
  Scripted again;

  SECTION("with the same options") {
    // What a kill between the set and the rest leaves.
    std::filesystem::remove(folder.run.grid());
    write_text(folder.run.checkpoint(), "stale");
    const RunOutcome result = drive(again, options);
    CHECK(result.already_finished);
    CHECK_FALSE(result.last_loss.has_value());
    CHECK(at::equal(storage::read_set(*options.out).images, outcome.set.images));
    CHECK(std::filesystem::exists(folder.run.grid()));
    CHECK_FALSE(std::filesystem::exists(folder.run.checkpoint()));
  }
  SECTION("with others it is refused, and they are named") {
    options.config_text = "method = scripted\nipc = 10\nseed = 5\niterations = 6\n";
    CHECK_THROWS_WITH_TEXT(drive(again, options), ConfigError,
                           "other options (theirs / yours): ipc: 1 / 10, seed: 1 / 5;");
    CHECK_FALSE(std::filesystem::exists(*options.out));
  }
}

TEST_CASE("a checkpoint of other options is refused, and they are named", "[methods][resume]") {
  const Folder folder;
  drive_and_stop(folder.options());
  Scripted second;
  DriverOptions options = folder.resuming();
  options.config_text = with_iterations(kConfig, 7);
  CHECK_THROWS_WITH_TEXT(drive(second, options), ConfigError,
                         "other options (theirs / yours): iterations: 6 / 7;");
  CHECK(read_text(folder.run.config()) == kConfig);
}

TEST_CASE("what killed writes left goes when the run goes on", "[methods][resume]") {
  const Folder folder;
  drive_and_stop(folder.options());
  const std::filesystem::path half = folder.run.checkpoint().string() + ".tmp.4711";
  write_text(half, "half");
  Scripted second;
  drive(second, folder.resuming());
  CHECK_FALSE(std::filesystem::exists(half));
  write_text(half, "half");
  drive(second, folder.resuming());  // finished already
  CHECK_FALSE(std::filesystem::exists(half));
}

TEST_CASE("a check that was stopped on the way is made first when the run goes on",
          "[methods][resume]") {
  const Folder folder;
  DriverOptions options = folder.checking();
  drive_and_stop(options);
  CHECK_FALSE(std::filesystem::exists(folder.run.evaluations()));
  Scripted second;
  options.resume = true;
  CHECK(first_pixel(drive(second, options).set) == 15);
  CHECK(rows(folder.run.evaluations()) == 2);
}
