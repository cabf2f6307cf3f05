// What --time-budget ends, counts and keeps.
#include <chrono>
#include <thread>

#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/storage/set_file.h"
#include "tests/methods/scripted.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::scripted;

TEST_CASE("a resumed run keeps its time budget and its copy, and neither is part of its options",
          "[methods][resume]") {
  const Folder folder;
  DriverOptions options = folder.options();
  options.out = folder.root / "copy.h5";
  options.time_budget_seconds = 1e-9;
  drive_and_stop_preparing(options);
  Scripted second;

  SECTION("by itself") {
    const RunOutcome outcome = drive(second, folder.resuming());
    CHECK(outcome.iterations == 1);
    CHECK(outcome.out == options.out);
    CHECK(at::equal(storage::read_set(*options.out).images, outcome.set.images));
  }
  SECTION("unless told otherwise") {
    DriverOptions other = folder.resuming();
    other.out = folder.root / "elsewhere.h5";
    other.time_budget_seconds = 0;
    CHECK(drive(second, other).iterations == 6);
    CHECK(std::filesystem::exists(*other.out));
    CHECK_FALSE(std::filesystem::exists(*options.out));
    Scripted third;
    CHECK(drive(third, folder.resuming()).out == other.out);
  }
  SECTION("a damaged record is named") {
    write_text(folder.run.session(), "time-budget = soon\n");
    CHECK_THROWS_WITH_TEXT(drive(second, folder.resuming()), ConfigError, "session.cfg:1");
  }
}

TEST_CASE("preparation that takes longer than the time budget is foretold", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  method.setup_flops = 1e18;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 5;
  std::string warning;
  const auto before = log::set_sink([&](log::Level level, const std::string& message) {
    if (level == log::Level::Warn) warning = message;
  });
  drive(method, options);
  log::set_sink(before);
  CHECK(warning.find("preparation alone is predicted to take") != std::string::npos);
}

TEST_CASE("a time budget ends the run properly and the configuration replays the iterations",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 1e-9;
  CHECK(drive(method, options).iterations == 1);
  CHECK(read_text(folder.run.config()) == with_iterations(kConfig, 1));

  Scripted again;
  SECTION("the same command with --resume finds it finished") {
    options.resume = true;
    CHECK(drive(again, options).already_finished);
  }
  SECTION("its plan without a budget finds it finished: the budget is remembered") {
    CHECK(drive(again, folder.resuming()).already_finished);
  }
  SECTION("its own configuration finds it finished, and it can still go on") {
    DriverOptions own = folder.resuming();
    own.config_text = with_iterations(kConfig, 1);
    CHECK(drive(again, own).already_finished);
    CHECK(std::filesystem::exists(folder.run.checkpoint()));
  }
  SECTION("a kill before config.cfg was rewritten is made up for") {
    write_text(folder.run.config(), kConfig);
    CHECK(drive(again, folder.resuming()).already_finished);
    CHECK(read_text(folder.run.config()) == with_iterations(kConfig, 1));
  }
  SECTION("other iterations than the planned ones are another run") {
    options.resume = true;
    options.config_text = with_iterations(kConfig, 7);
    CHECK_THROWS_WITH_TEXT(drive(again, options), ConfigError, "iterations: 6 / 7");
  }
}

TEST_CASE("a run that its time budget ended goes on with a larger one to the same end",
          "[methods][resume]") {
  const Folder whole;
  const Folder folder;
  StopFlag stop;
  Scripted never_cut;
  drive(never_cut, whole.options(), stop);
  Scripted first;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 1e-9;
  CHECK(drive(first, options, stop).iterations == 1);
  CHECK(stored_config(folder.run.root)->text == kConfig);

  DriverOptions more = folder.resuming();
  more.time_budget_seconds = 1000;
  Scripted second;
  second.stop = &stop;
  second.stop_at = 3;
  SECTION("at once") { second.stop_at = -1; }
  SECTION("stopped once more on the way") {
    CHECK_THROWS_AS(drive(second, more, stop), Interrupted);
    more.time_budget_seconds.reset();
  }
  Scripted third;
  const RunOutcome outcome = drive(third, more);
  CHECK_FALSE(outcome.already_finished);
  CHECK(outcome.iterations == 6);
  CHECK(at::equal(storage::read_set(folder.run.set()).images,
                  storage::read_set(whole.run.set()).images));
  CHECK(read_text(folder.run.config()) == kConfig);
  CHECK(rows(folder.run.metrics()) == 6);
  CHECK_FALSE(std::filesystem::exists(folder.run.checkpoint()));
  Scripted fourth;
  CHECK(drive(fourth, folder.resuming()).already_finished);
}

TEST_CASE("a time budget counts from when the caller began, over all sessions of a run",
          "[methods][driver]") {
  const Folder folder;
  DriverOptions options = folder.options();
  options.began = wall_seconds() - 100;

  SECTION("what came before uses it up, but is no condensing") {
    Scripted method;
    options.time_budget_seconds = 99;
    const RunOutcome outcome = drive(method, options);
    CHECK(outcome.iterations == 1);
    CHECK(outcome.wall_seconds < 50);
    Scripted again;
    DriverOptions same = folder.resuming();
    CHECK(drive(again, same).already_finished);
    same.time_budget_seconds = 1000;
    CHECK(drive(again, same).iterations == 6);
  }
  SECTION("it is not used up yet") {
    Scripted method;
    options.time_budget_seconds = 1000;
    CHECK(drive(method, options).iterations == 6);
  }
  SECTION("a resumed run has what the sessions before it left") {
    options.time_budget_seconds = 150;
    drive_and_stop(options);
    options.resume = true;
    options.began = wall_seconds() - 60;
    Scripted second;
    CHECK(drive(second, options).iterations == 3);
    options.time_budget_seconds = 1000;
    Scripted third;
    CHECK(drive(third, options).iterations == 6);
  }
  SECTION("a checkpoint from before this was counted has spent what it condensed") {
    options.time_budget_seconds = 150;
    drive_and_stop(options);
    storage::StateWriter old;
    const storage::StateReader saved(folder.run.checkpoint());
    for (const char* name : {"driver/next_iteration", "driver/owes_evaluation", "sum"}) {
      old.integer(name, saved.integer(name));
    }
    for (const char* name : {"driver/wall_seconds", "driver/cpu_seconds", "driver/last_loss"}) {
      old.number(name, saved.number(name));
    }
    old.text("driver/config", saved.text("driver/config"));
    old.save(folder.run.checkpoint());
    options.resume = true;
    options.began = wall_seconds() - 60;
    Scripted second;
    CHECK(drive(second, options).iterations == 6);
  }
}

TEST_CASE("what a method needs first costs neither condensing nor the time budget",
          "[methods][driver]") {
  const Folder folder;
  int calls = 0;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 0.8;
  options.provide = [&](RunContext& run) {
    // A run that is killed here goes on by its folder.
    CHECK(read_text(folder.run.config()) == kConfig);
    if (++calls == 1) throw Interrupted("training experts was interrupted");
    run.experts = "e.h5";
    std::this_thread::sleep_for(std::chrono::seconds(1));
  };
  Scripted first;
  CHECK_THROWS_WITH_TEXT(drive(first, options), Interrupted, "training experts");
  options.resume = true;
  Scripted second;
  const RunOutcome outcome = drive(second, options);
  CHECK(outcome.iterations == 6);
  CHECK(outcome.wall_seconds < 0.8);
  Scripted third;
  CHECK(drive(third, options).already_finished);
  CHECK(calls == 2);
}

TEST_CASE("checks during a run do not use up its time budget", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.checking();
  const double before = wall_seconds();
  const RunOutcome outcome = drive(method, options);
  const double all = wall_seconds() - before;
  CHECK(outcome.wall_seconds < 0.5 * all);
  const std::string table = read_text(folder.run.evaluations());
  CHECK(table.starts_with("iterations_done,protocol,split,mean,std,networks,seeds\n3,short,"));
  CHECK(table.find("\n3,") != std::string::npos);
  CHECK(table.find("\n6,") != std::string::npos);
}
