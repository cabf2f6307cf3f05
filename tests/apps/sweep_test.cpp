#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <system_error>

#include <nlohmann/json.hpp>

#include "apps/commands/sweep_prediction.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// Three methods, two sizes, two seeds on `shapes`, a second of work each.
std::string grid(const Workspace& workspace, const std::string& out) {
  return str("out = ", out,
             "\n[condense]\nmethod = random, dm, datadam\ndataset = shapes\nipc = 1, 2\n"
             "seed = 0, 1\niterations = 3\nnet = ConvNet-2-w8\nbatch-real = 8\n"
             "[evaluate]\nprotocol = ",
             tiny_protocol(workspace), "\nruns = 2\n");
}

/// One run that takes long enough to be stopped in it.
std::string long_cell(const Workspace& workspace) {
  return str("out = long\n[condense]\nmethod = dm\ndataset = shapes\niterations = 400\n",
             "net = ConvNet-2-w8\nbatch-real = 8\n[evaluate]\nprotocol = ",
             tiny_protocol(workspace), "\n");
}

ProcessResult run_sweep(const Workspace& workspace, const Words& words) {
  return workspace.start(joined({"sweep"}, words)).wait(300);
}

/// Times of writing of what finished cells hold, by path; also while a sweep runs, whose files are
/// written aside and renamed.
std::map<std::string, std::int64_t> finished_files(const fs::path& out) {
  std::map<std::string, std::int64_t> times;
  if (!fs::is_directory(out)) return times;
  for (const auto& cell : fs::directory_iterator(out)) {
    if (!fs::exists(cell.path() / "set.h5")) continue;
    std::map<std::string, std::int64_t> own;
    bool judged = false;
    for (const auto& file : fs::directory_iterator(cell.path())) {
      const std::string name = file.path().filename().string();
      judged = judged || (name.starts_with("evaluation-") && name.ends_with(".json"));
      if (name == ".lock" || name.ends_with(".part") || Contains(".tmp.").match(name)) continue;
      std::error_code gone;
      const auto time = fs::last_write_time(file.path(), gone);
      if (!gone) own[file.path().string()] = time.time_since_epoch().count();
    }
    if (judged) times.merge(own);
  }
  return times;
}

std::size_t finished_cells(const fs::path& out) {
  std::size_t count = 0;
  for (const auto& [path, time] : finished_files(out)) {
    if (fs::path(path).filename() == "set.h5") ++count;
  }
  return count;
}

void expect_reached(const std::function<bool()>& reached) {
  wait_until(reached);
  REQUIRE(reached());
}

/// Rows without what a clock decides and where they lie.
json results(const fs::path& table) {
  json rows = json::parse(read_text(table))["rows"];
  for (auto& row : rows) {
    for (auto& set : row["sets"]) {
      for (const char* key : {"run", "evaluation", "condense_seconds", "evaluate_seconds"}) {
        set.erase(key);
      }
    }
  }
  return rows;
}

}  // namespace

TEST_CASE("a sweep killed in its middle is finished by a second call, and shards make the same",
          "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("one.sweep"), grid(workspace, "one"));
  write_text(workspace.path("two.sweep"), grid(workspace, "two"));
  const fs::path one = workspace.path("one");
  {
    Process killed = workspace.start({"sweep", "one.sweep", "--jobs", "2"});
    expect_reached([&] { return finished_cells(one) >= 3; });
    killed.signal(SIGKILL);
    CHECK(killed.wait().exit_code == 128 + SIGKILL);
  }
  const auto before = finished_files(one);
  CHECK(finished_cells(one) < 12);
  const auto second = run_sweep(workspace, {"one.sweep", "--jobs", "2"});
  INFO(second.err);
  REQUIRE(second.exit_code == 0);
  CHECK(finished_cells(one) == 12);
  const auto after = finished_files(one);
  for (const auto& [path, time] : before) CHECK(after.at(path) == time);
  CHECK_THAT(second.out, Contains("12 of 12 cells are finished"));

  const auto third = run_sweep(workspace, {"one.sweep"});
  CHECK(third.exit_code == 0);
  CHECK(finished_files(one) == after);
  CHECK(third.out == second.out);
  CHECK(third.out == read_text(one / "table.txt"));

  Process shard = workspace.start({"sweep", "two.sweep", "--shard", "0/2", "--jobs", "1"});
  const auto other = run_sweep(workspace, {"two.sweep", "--shard", "1/2", "--jobs", "1"});
  INFO(other.err);
  CHECK(other.exit_code == 0);
  CHECK(shard.wait(300).exit_code == 0);
  const auto joined = workspace.succeed({"sweep", "two.sweep", "--table-only", "--json"});
  const json document = json::parse(joined.out);
  CHECK(document["schema"] == "retort.sweep/1");
  CHECK(document["finished"] == 12);
  CHECK(document["rows"].size() == 6);
  CHECK(document["rows"][0]["accuracy"]["networks"] == 4);
  CHECK(results(workspace.path("two/table.json")) == results(one / "table.json"));
}

TEST_CASE("an interrupted sweep has its runs save, and goes on where they were", "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("long.sweep"), long_cell(workspace));
  const fs::path run = workspace.path("long/dm-shapes");
  Process sweep = workspace.start({"sweep", "long.sweep", "--jobs", "1"});
  expect_reached([&] { return fs::exists(run / "metrics.csv"); });
  sweep.signal(SIGINT);
  const auto stopped = sweep.wait();
  INFO(stopped.err);
  CHECK(stopped.exit_code == 130);
  CHECK_THAT(stopped.err, Contains("0 of 1 cells were finished; what ran has saved"));
  CHECK(fs::exists(run / "checkpoint.h5"));
  const auto plan = json::parse(run_sweep(workspace, {"long.sweep", "--dry-run", "--json"}).out);
  CHECK(plan["schema"] == "retort.sweep-plan/1");
  CHECK(plan["cells"][0]["state"] == "goes on");
  CHECK(plan["cells"][0]["memory_bytes"].get<double>() > 0);
  const auto finished = run_sweep(workspace, {"long.sweep", "--jobs", "1"});
  INFO(finished.err);
  CHECK(finished.exit_code == 0);
  CHECK_THAT(read_text(workspace.path("long/sweep/dm-shapes.log")),
             Contains("resumed at iteration "));
}

TEST_CASE("a cell that fails is reported with its last lines, and the others go on",
          "[apps][sweep]") {
  const Workspace workspace;
  const auto write = [&](const std::string& ipc, const std::string& features) {
    write_text(workspace.path("some.sweep"),
               str("[condense]\nmethod = random\ndataset = shapes\nipc = ", ipc, "\n", features));
  };
  write("1, 5000", "");
  const auto failed = run_sweep(workspace, {"some.sweep", "--jobs", "2"});
  INFO(failed.err);
  CHECK(failed.exit_code == 1);
  CHECK_THAT(failed.err,
             Contains("1 of 2 cells failed\n  random-shapes-ipc5000: condense, exit code 2") &&
                 Contains("ipc 5000 is above the size of class"));
  CHECK_THAT(failed.out, Contains("1 of 2 cells are finished, no set is judged"));
  CHECK(fs::exists(workspace.path("runs/some/random-shapes-ipc1/set.h5")));

  // What is meant by a cell has changed: the old run stays.
  write("1", "images-per-class = 7\n");
  const auto changed = run_sweep(workspace, {"some.sweep", "--jobs", "1"});
  INFO(changed.err);
  CHECK(changed.exit_code == 0);
  CHECK_THAT(changed.err, Contains("runs/some/random-shapes-ipc1 holds a run with other options "
                                   "(there / here): images-per-class: 0 / 7; it stays"));
  // A grid that grows renames no run.
  write("1", "images-per-class = 0, 7\n");
  const auto grown = workspace.succeed({"sweep", "some.sweep", "--table-only"});
  CHECK_THAT(grown.out, Contains("2 of 2 cells are finished"));
}

TEST_CASE("a sweep that cannot be is refused before anything runs", "[apps][sweep]") {
  const Workspace workspace;
  const auto check = [&](const std::string& text, const std::string& message,
                         const Words& more = {}) {
    write_text(workspace.path("wrong.sweep"), "out = never\n" + text);
    const auto result = workspace.retort(joined({"sweep", "wrong.sweep"}, more));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(message));
    CHECK_FALSE(fs::exists(workspace.path("never")));
  };
  const std::string good = "[condense]\nmethod = dm\ndataset = shapes\n";
  write_text(workspace.path("run/config.cfg"), "method = dm\n");
  write_text(workspace.path("over.sweep"), "out = run\n" + good);
  const auto over = workspace.retort({"sweep", "over.sweep"});
  CHECK(over.exit_code == 2);
  CHECK_THAT(over.err, Contains("over.sweep: 'out' leads to 'run', which is the folder of a run"));
  check("[condense]\nmethd = dm\n",
        "wrong.sweep:3: unknown option 'methd' of condense; did you mean 'method'?");
  check("[condense]\nmethod = dmm\n", "wrong.sweep:3: unknown method 'dmm'; did you mean 'dm'?");
  check("[condense]\nmethod = dm\ndataset = shape\n", "wrong.sweep:4: unknown dataset 'shape'");
  check("[condense]\nmethod = dm\n", "cell dm: which dataset?");
  check(good + "ipc = 1, x\n", "wrong.sweep:5: option 'ipc': expected a whole number");
  check(good + "run-dir = x\n", "wrong.sweep:5: option 'run-dir' of condense is set by the sweep");
  check(good + "syn-steps = 3\n",
        "wrong.sweep:5: no method of the sweep has an option 'syn-steps'");
  check(good + "bandwidth = 2\n", "cell dm-shapes: option 'bandwidth' changes nothing");
  check(good + "lr-img = 1\nlr-images = 2\n",
        "wrong.sweep:6: 'lr-images' is already set in line 5");
  check(good + "threads = 0\n", "a cell needs a number of threads");
  check(good + "[evaluate]\nprotocl = dsa\n",
        "unknown option 'protocl' of evaluate; did you mean 'protocol'?");
  check(good + "[evaluate]\nprotocol = dsaa\n", "wrong.sweep:6: unknown protocol 'dsaa'");
  check(good + "[evaluate]\nbaselines = random, randm\n", "did you mean 'random'?");
  check(good + "[evaluate]\nnets = ConvNet-3, Nonsense\n", "Nonsense");
  check(good + "threads = 4\n", "computes with 4 threads, more than the 2", {"--threads", "2"});
  check(good + "[evaluate if method = dm]\nruns = 1\n",
        "wrong.sweep:5: [evaluate if ...] changes how some of the sets are judged");
  check(good + "[evaluate]\nhold-out = 0.1\n",
        "cell dm-shapes: option 'hold-out': the set was condensed from all training images");
  check(good + "eval-every = 5\nhold-out = 0.2\n[evaluate]\nhold-out = 0.1\n",
        "option 'hold-out': expected 0.2, the part that the set was condensed without, found 0.1");
  check(good, "option 'shard'", {"--shard", "2/2"});
  check(good, "option 'memory'", {"--memory", "much"});
  const auto missing = workspace.retort({"sweep", "none.sweep"});
  CHECK(missing.exit_code == 1);
  CHECK_THAT(missing.err, Contains("none.sweep"));
}

namespace {

/// A sweep of sets of random images, which take no time.
std::string random_sets(const std::string& out, const std::string& condense,
                        const std::string& rest) {
  return str("out = ", out, "\n[condense]\nmethod = random\ndataset = shapes\n", condense, rest);
}

json table_of(const Workspace& workspace, const std::string& file) {
  const auto result = run_sweep(workspace, {file, "--jobs", "1", "--json"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  return json::parse(result.out);
}

}  // namespace

TEST_CASE("cells judged in several ways join by how, not by the number of the way",
          "[apps][sweep]") {
  const Workspace workspace;
  const fs::path q = workspace.path("q.cfg");
  write_text(q, read_text(tiny_protocol(workspace)));
  write_text(workspace.path("ways.sweep"),
             random_sets("ways", "ipc = 1\nseed = 0, 1\n",
                         str("[evaluate]\nprotocol = ", tiny_protocol(workspace), ", ", q.string(),
                             "\nruns = 1\nattack = fgsm\n[evaluate if seed = 1]\nprotocol = ",
                             q.string(), "\n")));
  const json rows = table_of(workspace, "ways.sweep")["rows"];
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["protocol"] == "tiny");
  CHECK(rows[0]["sets"].size() == 1);
  CHECK(rows[1]["protocol"] == "q");
  CHECK(rows[1]["sets"].size() == 2);
  CHECK(rows[1]["tested_on"] == "test");
  CHECK(rows[1]["robust"][0]["attack"] == "fgsm 8/255");
  CHECK_THAT(read_text(workspace.path("ways/table.txt")), Contains("fgsm 8/255 %"));
}

TEST_CASE("a sweep chooses settings on training images that its sets were made without",
          "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("held.sweep"),
             random_sets("held", "eval-every = 2\nhold-out = 0.2\n",
                         str("[evaluate]\nhold-out = 0.2\nruns = 1\nprotocol = ",
                             tiny_protocol(workspace), "\n")));
  const json table = table_of(workspace, "held.sweep");
  REQUIRE(table["rows"].size() == 1);
  CHECK(table["rows"][0]["tested_on"] == "held-out training images");
  CHECK_THAT(read_text(workspace.path("held/table.txt")),
             Contains("tested on held-out training images"));
  // Judged again without the option it is another result, beside the first.
  workspace.succeed({"evaluate", "held/random-shapes/set.h5", "--protocol",
                     tiny_protocol(workspace), "--runs", "1", "--threads", "1"});
  workspace.succeed({"evaluate", "held/random-shapes/set.h5", "--protocol",
                     tiny_protocol(workspace), "--runs", "1", "--threads", "1", "--hold-out",
                     "0.2"});
  const auto tested_on = [&](const std::string& name) {
    return json::parse(read_text(workspace.path("held/random-shapes") / name))["tested_on"];
  };
  CHECK(tested_on("evaluation.json") == "test");
  CHECK(tested_on("evaluation-tiny-held-out-training-images.json") == "held-out training images");
}

TEST_CASE("what is wrong with the files of one cell is a failure of that cell", "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("two.sweep"), random_sets("two", "ipc = 1, 2\n", ""));
  fs::create_directories(workspace.path("two/sweep/random-shapes-ipc1.lock"));
  fs::create_directories(workspace.path("two/table.csv"));
  const auto result = run_sweep(workspace, {"two.sweep", "--jobs", "1"});
  INFO(result.err);
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.err, Contains("1 of 2 cells failed\n  random-shapes-ipc1: files, "));
  CHECK(fs::exists(workspace.path("two/random-shapes-ipc2/set.h5")));
  CHECK_THAT(result.out, Contains("1 of 2 cells are finished"));
}

TEST_CASE("a table is printed also where it cannot be written", "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("one.sweep"), random_sets("one", "", ""));
  fs::create_directories(workspace.path("one/table.csv"));
  const auto result = run_sweep(workspace, {"one.sweep", "--jobs", "1"});
  INFO(result.err);
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.out, Contains("1 of 1 cell is finished"));
  CHECK_THAT(result.err, Contains("table.csv"));
  CHECK(read_text(workspace.path("one/table.txt")) == result.out);
  CHECK(fs::exists(workspace.path("one/table.json")));
}

TEST_CASE("a result about another set than the one beside it is left out", "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("one.sweep"),
             random_sets("one", "",
                         str("[evaluate]\nruns = 1\nprotocol = ", tiny_protocol(workspace), "\n")));
  CHECK(table_of(workspace, "one.sweep")["rows"].size() == 1);
  workspace.succeed({"condense", "--method", "random", "--dataset", "shapes", "--seed", "5",
                     "--out", "other.h5", "--threads", "1"});
  fs::copy_file(workspace.path("other.h5"), workspace.path("one/random-shapes/set.h5"),
                fs::copy_options::overwrite_existing);
  const auto result = workspace.succeed({"sweep", "one.sweep", "--table-only"});
  CHECK_THAT(result.err, Contains("is about another set than the one beside it and is left out"));
  CHECK_THAT(result.out, Contains("no set is judged"));
}

TEST_CASE("cells of a preset and of a time budget are finished once", "[apps][sweep]") {
  const Workspace workspace;
  const std::string net = "net = ConvNet-2-w8\nbatch-real = 8\n";
  write_text(workspace.path("some.sweep"),
             str("out = some\n[condense]\npreset = dm/cifar10-ipc1\ndataset = shapes\n", net,
                 "iterations = 2\n"));
  write_text(workspace.path("timed.sweep"),
             str("out = some\n[condense]\nmethod = dm\ndataset = shapes\niterations = 1000000\n",
                 "time-budget = 2s\n", net));
  for (const char* file : {"some.sweep", "timed.sweep"}) {
    INFO(file);
    const auto result = run_sweep(workspace, {file, "--jobs", "1"});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    CHECK_THAT(result.out, Contains("1 of 1 cell is finished"));
    CHECK_THAT(run_sweep(workspace, {file, "--dry-run"}).out, Contains("1 finished"));
  }
  // Two sweeps share a folder: none takes the other's cells for its own.
  CHECK(fs::exists(workspace.path("some/dm-cifar10-ipc1-shapes/set.h5")));
  CHECK(fs::exists(workspace.path("some/dm-shapes/checkpoint.h5")));
}

TEST_CASE("a sweep keeps to its memory, and to its number of cells at a time", "[apps][sweep]") {
  const Workspace workspace;
  write_text(workspace.path("many.sweep"), random_sets("many", "ipc = 1, 2, 3\nseed = 0, 1\n", ""));
  const auto refused = run_sweep(workspace, {"many.sweep", "--memory", "1M"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("is predicted to need") && Contains("of --memory"));
  const auto lanes = [&](const Words& more) {
    const auto plan = run_sweep(workspace, joined({"many.sweep", "--dry-run", "--json"}, more));
    INFO(plan.err);
    REQUIRE(plan.exit_code == 0);
    return json::parse(plan.out)["at_a_time"].get<int>();
  };
  CHECK(lanes({"--jobs", "6"}) == 6);  // whatever the machine has
  CHECK(lanes({"--jobs", "6", "--threads", "2"}) == 2);
}

TEST_CASE("predictions count teachers and experts, and a document that is none is refused",
          "[apps][sweep]") {
  const json document = {{"total_seconds", 2.0},
                         {"memory_bytes", 30.0},
                         {"memory_loaded_bytes", 10.0},
                         {"experts", nullptr},
                         {"teachers", {{"seconds", 5.0}}}};
  const auto prediction = commands::read_prediction(document.dump());
  CHECK(prediction.seconds.value() == 7);
  CHECK(prediction.bytes_of(false) == 30);
  CHECK(prediction.bytes_of(true) == 10);
  for (const char* text : {"null", "", "{\"total_seconds\": null}"}) {
    CHECK_THROWS_WITH_TEXT(commands::read_prediction(text), StorageError,
                           "what `condense --dry-run` said is no prediction");
  }
}
