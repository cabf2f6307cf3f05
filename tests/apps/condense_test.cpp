#include <csignal>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/storage/set_file.h"
#include "lib/storage/state_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

Words condense(const Words& more) {
  return joined({"condense", "--dataset", "shapes", "--threads", "1"}, more);
}

/// Distribution matching that takes milliseconds per iteration.
Words small_dm(const Words& more) {
  return joined(
      condense({"--method", "dm", "--net", "ConvNet-2-w8", "--batch-real", "8", "--init", "noise"}),
      more);
}

Tensor images_of(const fs::path& path) { return storage::read_set(path).images; }

std::vector<std::string> contents(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    names.push_back(entry.path().string() + std::to_string(entry.is_directory()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("a run leaves its folder and a copy of the set", "[apps][condense]") {
  const Workspace& workspace = condensed_shapes();
  for (const char* name : {"config.cfg", "metrics.csv", "log.txt", "set.h5", "grid.png"}) {
    INFO(name);
    CHECK(fs::exists(workspace.path("run") / name));
  }
  const auto set = storage::read_set(workspace.path("set.h5"));
  CHECK(set.images.size(0) == 8);
  CHECK(set.provenance.method == "random");
  CHECK(set.provenance.dataset == "shapes");
  CHECK(set.provenance.class_names.size() == 4);
  CHECK_FALSE(set.provenance.program_version.empty());
  CHECK(read_text(workspace.path("run") / "config.cfg") == set.provenance.config);
}

TEST_CASE("config.cfg repeats the run", "[apps][condense]") {
  const Workspace& workspace = condensed_shapes();
  const auto result =
      workspace.succeed({"condense", "--config", "run/config.cfg", "--run-dir", "again"});
  CHECK(at::equal(images_of(workspace.path("run/set.h5")),
                  images_of(workspace.path("again/set.h5"))));
  CHECK(read_text(workspace.path("run/config.cfg")) ==
        read_text(workspace.path("again/config.cfg")));
  // A flag is stronger than the file.
  const auto other = workspace.retort(
      {"condense", "--config", "run/config.cfg", "--seed", "1", "--run-dir", "other", "--json"});
  REQUIRE(other.exit_code == 0);
  CHECK_FALSE(at::equal(images_of(workspace.path("run/set.h5")),
                        images_of(workspace.path("other/set.h5"))));
  const auto document = nlohmann::json::parse(other.out);
  CHECK(document["schema"] == "retort.condense/1");
  CHECK(document["seed"] == 1);
  CHECK(document["set"] == "other/set.h5");
}

TEST_CASE("what the user says of mirroring reaches the evaluation of the set", "[apps][condense]") {
  const Workspace workspace;
  write_text(workspace.path("own.cfg"),
             "epochs = 1\nschedule = steps\nnetworks = 1\nnet = ConvNet-2-w8\n"
             "augmentation = crop_flip\naugmentation-digits = crop\n");
  const auto made =
      workspace.succeed({"condense", "--method", "random", "--dataset", "shapes", "--ipc", "1",
                         "--mirror-changes-class", "yes", "--threads", "1", "--run-dir", "run"});
  CHECK_THAT(read_text(workspace.path("run/config.cfg")), Contains("mirror-changes-class = yes\n"));
  const Words evaluate{"evaluate", "run/set.h5", "--protocol", "own.cfg", "--threads", "1"};
  const auto judged = workspace.retort(evaluate);
  INFO(judged.err);
  CHECK_THAT(judged.out, Contains("augmentation crop\n"));
  auto overruled = evaluate;
  overruled.insert(overruled.end(), {"--mirror-changes-class", "no"});
  CHECK_THAT(workspace.retort(overruled).out, Contains("augmentation crop_flip\n"));
}

TEST_CASE("an existing run folder is refused and not touched", "[apps][condense]") {
  const Workspace& workspace = condensed_shapes();
  const auto before = contents(workspace.path("run"));
  const std::string config = read_text(workspace.path("run/config.cfg"));
  const auto result =
      workspace.retort(condense({"--method", "random", "--ipc", "3", "--run-dir", "run"}));
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.err, Contains("run folder 'run' exists") && Contains("--resume"));
  CHECK(contents(workspace.path("run")) == before);
  CHECK(read_text(workspace.path("run/config.cfg")) == config);
}

TEST_CASE("resuming a finished run writes its result again", "[apps][condense]") {
  const Workspace& workspace = condensed_shapes();
  const auto result =
      workspace.retort({"condense", "--resume", "--run-dir", "run", "--out", "copy.h5"});
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.err, Contains("finished"));
  CHECK(at::equal(images_of(workspace.path("run/set.h5")), images_of(workspace.path("copy.h5"))));
  // Only the options that made it: else another set would pass for the one asked for.
  const auto other = workspace.retort({"condense", "--resume", "--run-dir", "run", "--seed", "5"});
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("other options (theirs / yours): seed: 0 / 5;"));
  const auto json = workspace.retort({"condense", "--resume", "--run-dir", "run", "--json"});
  REQUIRE(json.exit_code == 0);
  const auto document = nlohmann::json::parse(json.out);
  CHECK(document["already_finished"] == true);
  CHECK(document["method"] == "random");
  CHECK_FALSE(document.contains("loss"));
}

TEST_CASE("without --run-dir a readable folder is made, and never one twice", "[apps][condense]") {
  const Workspace workspace;
  for (int i = 0; i < 2; ++i) {
    CHECK(workspace.retort(condense({"--method", "random", "--quiet"})).exit_code == 0);
  }
  CHECK(fs::exists(workspace.path("runs/random-shapes-ipc1-seed0/set.h5")));
  CHECK(fs::exists(workspace.path("runs/random-shapes-ipc1-seed0-2/set.h5")));
}

TEST_CASE("what cannot be condensed is refused with code 2", "[apps][condense]") {
  const Workspace workspace;
  write_text(workspace.path("typo.cfg"), "method = dm\n\nbatch-rael = 4\n");
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
    CHECK_FALSE(fs::exists(workspace.path("runs")));
    CHECK_FALSE(fs::exists(workspace.path("new")));
  };
  check(condense({}), "which method?");
  check({"condense", "--method", "random"}, "which dataset?");
  check(condense({"--method", "dmm"}), "unknown method 'dmm'; did you mean 'dm'?");
  check({"condense", "--method", "dm", "--dataset", "shapse"}, "did you mean 'shapes'?");
  check(condense({"--method", "random", "--ipc", "101"}), "ipc 101 is above the size of class");
  check(condense({"--method", "dm", "--lr-img", "nan"}), "option 'lr-images': expected a number");
  check(condense({"--method", "dm", "--batch-rael", "4"}), "did you mean 'batch-real'?");
  check(condense({"--config", "typo.cfg"}), "typo.cfg:3: unknown option 'batch-rael'");
  check(condense({"--method", "dm", "--foo", "1"}), "unknown option 'foo'; known: method, ");
  check(condense({"--config", "none.cfg"}), "there is no file 'none.cfg'");
  check(condense({"--preset", "dm/cifar10-ipc11"}), "did you mean 'dm/cifar10-ipc1");
  check(condense({"--preset", "dm/cifar10-ipc10", "--method", "datadam"}),
        "preset dm/cifar10-ipc10 is for the method 'dm', not for 'datadam'");
  check(condense({"--method", "random", "--resume"}), "--resume needs --run-dir");
  check(condense({"--method", "random", "--time-budget", "soon"}), "90s, 8m or 1h30m");
  check(condense({"--method", "dm", "--net", "ConvNe-3", "--run-dir", "new", "--dry-run"}),
        "ConvNet-3");
}

TEST_CASE("an option of other methods is refused with their names", "[apps][condense]") {
  const Workspace workspace;
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
  };
  for (const std::string method : {"random", "herding", "k-center", "k-means"}) {
    check(condense({"--method", method, "--iterations", "4"}),
          "unknown option 'iterations': the method '" + method +
              "' makes no iterations; an option of dm, datadam, ");
  }
  check(condense({"--method", "random", "--lr_img=1"}),
        "unknown option 'lr-img': the method 'random' has none of this name; an option of dm, ");
  check(condense({"--method", "random", "--fyi"}), "unknown option 'fyi': the method 'random'");
  write_text(workspace.path("other.cfg"), "method = random\nipc = 1\nnet-lr = 1\n");
  check(condense({"--config", "other.cfg"}),
        "other.cfg:3: unknown option 'net-lr': the method 'random' has none of this name");
}

TEST_CASE("config.cfg repeats a run that read files from another folder", "[apps][condense]") {
  const Workspace workspace;
  const auto base = workspace.retort(condense({"--method", "random", "--out", "base.h5"}));
  REQUIRE(base.exit_code == 0);
  tiny_protocol(workspace);
  const auto made =
      workspace.succeed(condense({"--method", "dm", "--net", "ConvNet-2-w8", "--batch-real", "8",
                                  "--iterations", "1", "--init-set", "base.h5", "--eval-every", "1",
                                  "--eval-protocol", "./tiny.cfg", "--run-dir", "run"}));
  const std::string config = read_text(workspace.path("run/config.cfg"));
  CHECK_THAT(config, Contains("init-set = " + workspace.path("base.h5").string() + "\n"));
  CHECK_THAT(config, Contains("eval-protocol = " + workspace.path("tiny.cfg").string() + "\n"));
  const Workspace elsewhere;
  const auto again = elsewhere.succeed(
      {"condense", "--config", workspace.path("run/config.cfg").string(), "--run-dir", "again"});
  CHECK(at::equal(images_of(workspace.path("run/set.h5")),
                  images_of(elsewhere.path("again/set.h5"))));
  const auto resumed = workspace.retort({"condense", "--resume", "--run-dir", "run"});
  CHECK(resumed.exit_code == 0);
}

TEST_CASE("a method's own options stand in its help", "[apps][condense]") {
  const Workspace workspace;
  const auto help = workspace.retort({"condense", "--method", "dm", "--help"});
  CHECK(help.exit_code == 0);
  CHECK_THAT(help.out, Contains("Options of dm") && Contains("--batch-real VALUE") &&
                           Contains("1 .. 1000000; default 256") && Contains("also --lr-img"));
  CHECK_THAT(workspace.retort({"condense", "--help"}).out, Contains("Methods:"));
}

TEST_CASE("a preset sets options, and flags override it", "[apps][condense]") {
  const Workspace workspace;
  const auto result = workspace.succeed({"condense", "--preset", "dm/cifar10-ipc1", "--dataset",
                                         "shapes", "--threads", "1", "--iterations", "1", "--net",
                                         "ConvNet-2-w8", "--run-dir", "run"});
  const std::string config = read_text(workspace.path("run/config.cfg"));
  CHECK_THAT(config, Contains("method = dm\n") && Contains("dataset = shapes\n") &&
                         Contains("iterations = 1\n") && Contains("net = ConvNet-2-w8\n"));
}

TEST_CASE("a dry run predicts and leaves nothing", "[apps][condense]") {
  const Workspace workspace;
  const auto result = workspace.succeed(small_dm({"--dry-run", "--iterations", "50", "--json"}));
  const auto document = nlohmann::json::parse(result.out);
  CHECK(document["iterations"] == 50);
  CHECK(document["total_seconds"].get<double>() > 0);
  CHECK_FALSE(fs::exists(workspace.path("runs")));
}

TEST_CASE("what follows from the images per class is settled before a run, and recorded",
          "[apps][condense]") {
  const Workspace workspace;
  const auto dc = [](const Words& more) {
    std::vector<std::string> args{"condense", "--method",  "dc",    "--dataset",    "shapes",
                                  "--ipc",    "2",         "--net", "ConvNet-2-w8", "--batch-real",
                                  "4",        "--threads", "1"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  const auto planned = workspace.succeed(dc({"--dry-run", "--json"}));
  CHECK(nlohmann::json::parse(planned.out)["iterations"] == 2000);
  CHECK_THAT(planned.err, Contains("taking net-period 2 and net-epochs 50"));
  const auto result =
      workspace.succeed(dc({"--iterations", "2", "--inner-loop", "3", "--run-dir", "run"}));
  CHECK_THAT(read_text(workspace.path("run/config.cfg")),
             Contains("net-period = 2\n") && Contains("net-epochs = 3\n"));
}

TEST_CASE("the document says whose loops computed the gradients that are matched",
          "[apps][condense]") {
  for (const std::string method : {"dc", "dsa", "idc"}) {
    const auto kernels_of = [&](const std::string& policy) {
      const Workspace workspace;
      Words words = condense({"--method", method, "--net", "ConvNet-2-w8", "--iterations", "2",
                              "--batch-real", "8", "--kernels", policy, "--json"});
      const Words fewer = method == "idc" ? Words{"--net-steps", "1"} : Words{"--net-epochs", "1"};
      words.insert(words.end(), fewer.begin(), fewer.end());
      const auto result = workspace.succeed(words);
      return nlohmann::json::parse(result.out)["kernels"];
    };
    INFO(method);
    const auto reference = kernels_of("reference");
    CHECK(reference["gradient_fast"] == 0);
    CHECK(reference["gradient_fallback"] > 0);
    const auto fast = kernels_of("fast");
    CHECK(fast["gradient_fast"] > 0);
    CHECK(fast["gradient_fallback"] == 0);
  }
}

TEST_CASE("a time budget ends a run properly, and config.cfg holds the iterations reached",
          "[apps][condense]") {
  const Workspace workspace;
  const auto result = workspace.succeed(
      small_dm({"--iterations", "1000000", "--time-budget", "0.5s", "--run-dir", "run", "--json"}));
  const auto reached = nlohmann::json::parse(result.out)["iterations"].get<std::int64_t>();
  CHECK(reached > 0);
  CHECK(reached < 1000000);
  const std::string config = read_text(workspace.path("run/config.cfg"));
  CHECK_THAT(config, Contains("iterations = " + std::to_string(reached) + "\n"));
  CHECK_THAT(config, !Contains("time-budget"));
  // Opening the dataset was counted, and is no part of condensing.
  const storage::StateReader state(workspace.path("run/checkpoint.h5"));
  CHECK(state.number("driver/opening_seconds") > 0);
  CHECK(state.number("driver/opening_seconds") + state.number("driver/wall_seconds") >= 0.5);
  const auto again =
      workspace.retort({"condense", "--config", "run/config.cfg", "--run-dir", "again"});
  REQUIRE(again.exit_code == 0);
  CHECK(at::equal(images_of(workspace.path("run/set.h5")),
                  images_of(workspace.path("again/set.h5"))));
}

TEST_CASE("a run ended by its time budget goes on when given more, to the same bits",
          "[apps][condense]") {
  const Workspace workspace;
  const Words plan = small_dm({"--iterations", "400"});
  const auto with = [&](const Words& more) { return joined(plan, more); };
  REQUIRE(workspace.retort(with({"--run-dir", "whole"})).exit_code == 0);
  const auto cut = workspace.succeed(
      with({"--time-budget", "0.02s", "--run-dir", "run", "--out", "copy.h5", "--json"}));
  CHECK(nlohmann::json::parse(cut.out)["iterations"] < 400);
  CHECK_THAT(cut.err, Contains("--resume with a larger --time-budget goes on"));
  CHECK_THAT(workspace.retort({"info", "run"}).out,
             Contains("retort condense --resume --run-dir run --time-budget 0"));
  const auto alone = workspace.retort({"condense", "--resume", "--run-dir", "run", "--json"});
  INFO(alone.err);
  CHECK(nlohmann::json::parse(alone.out)["already_finished"] == true);
  const auto resumed = workspace.succeed(
      {"condense", "--resume", "--run-dir", "run", "--time-budget", "0", "--json"});
  const auto document = nlohmann::json::parse(resumed.out);
  CHECK(document["iterations"] == 400);
  CHECK(document["out"] == workspace.path("copy.h5").string());
  for (const char* file : {"run/set.h5", "copy.h5"}) {
    CHECK(at::equal(images_of(workspace.path(file)), images_of(workspace.path("whole/set.h5"))));
  }
  CHECK(read_text(workspace.path("run/config.cfg")) ==
        read_text(workspace.path("whole/config.cfg")));
}

TEST_CASE("an interrupted run saves, ends with code 130 and goes on", "[apps][condense]") {
  const Workspace workspace;
  const std::string iterations = "2000";
  Process running = workspace.start(small_dm({"--iterations", iterations, "--run-dir", "run"}));
  const auto metrics = workspace.path("run/metrics.csv");
  const ProcessResult interrupted = signal_when(
      running, SIGINT, [&] { return fs::exists(metrics) && fs::file_size(metrics) > 100; });
  INFO(interrupted.err);
  REQUIRE(interrupted.exit_code == 130);
  CHECK_THAT(interrupted.err, Contains("--resume"));
  CHECK_THAT(workspace.retort({"info", "run/checkpoint.h5"}).out, Contains("iterations done"));
  // Other options would not be the same run.
  const auto other =
      workspace.retort(small_dm({"--iterations", "3", "--run-dir", "run", "--resume"}));
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("other options"));
  const auto resumed = workspace.succeed({"condense", "--resume", "--run-dir", "run"});
  CHECK_THAT(resumed.err, Contains("resumed at iteration"));
  CHECK(storage::read_set(workspace.path("run/set.h5")).provenance.iterations == 2000);
}

TEST_CASE("checks during a run use images the method does not see", "[apps][condense]") {
  const Workspace workspace;
  const std::string protocol = tiny_protocol(workspace);
  const auto result = workspace.succeed(small_dm(
      {"--iterations", "2", "--eval-every", "1", "--eval-protocol", protocol, "--run-dir", "run"}));
  CHECK_THAT(result.err, Contains("10 % of the training images"));
  CHECK_THAT(read_text(workspace.path("run/evaluations.csv")), Contains("held-out"));
}

TEST_CASE("what may be a slip of the hand is allowed and said", "[apps][condense]") {
  const Workspace workspace;
  const std::string protocol = tiny_protocol(workspace);
  const auto result =
      workspace.succeed(small_dm({"--iterations", "2", "--eval-every", "3", "--eval-protocol",
                                  protocol, "--run-dir", "typo", "--resume"}));
  CHECK_THAT(result.err, Contains("there is no folder 'typo' yet, a new run starts"));
  CHECK_THAT(result.err, Contains("eval-every 3 is above the 2 iterations of the run: no check"));
  CHECK_FALSE(fs::exists(workspace.path("typo/evaluations.csv")));
}

TEST_CASE("checks on the test split hold no training images back and say what they tested on",
          "[apps][condense]") {
  const Workspace workspace;
  const std::string protocol = tiny_protocol(workspace);
  const auto run = [&](const std::string& folder, const Words& more) {
    const auto result =
        workspace.succeed(joined(small_dm({"--iterations", "2", "--run-dir", folder}), more));
    return result;
  };
  const Words checked{"--eval-every", "1", "--eval-protocol", protocol};
  Words on_test = checked;
  on_test.insert(on_test.end(), {"--eval-on", "test"});
  run("unchecked", {});
  run("held-out", checked);
  const auto result = run("test", on_test);
  CHECK_THAT(result.err, !Contains("% of the training images"));
  CHECK_THAT(result.err, Contains(" % on test (protocol tiny, seeds 0, 1)"));
  const std::string table = read_text(workspace.path("test/evaluations.csv"));
  CHECK_THAT(table, Contains("\n1,tiny,test,") && Contains("\n2,tiny,test,"));
  CHECK_THAT(table, !Contains("held-out"));
  const Tensor unchecked = images_of(workspace.path("unchecked/set.h5"));
  CHECK(at::equal(images_of(workspace.path("test/set.h5")), unchecked));
  CHECK_FALSE(at::equal(images_of(workspace.path("held-out/set.h5")), unchecked));
  const auto set = storage::read_set(workspace.path("test/set.h5"));
  CHECK_THAT(set.provenance.config, Contains("eval-on = test\n"));
}

TEST_CASE("pictures of the way lie in the run folder", "[apps][condense]") {
  const Workspace workspace;
  const auto run = [&](const std::string& folder, const Words& more) {
    const auto result =
        workspace.succeed(joined(small_dm({"--iterations", "20", "--run-dir", folder}), more));
    Words pictures;
    for (const auto& name : contents(workspace.path(folder))) {
      const auto begin = name.find("grid-");
      if (begin != std::string::npos) pictures.push_back(name.substr(begin, 11));
    }
    return pictures;
  };
  CHECK(run("usual", {}).size() == 9);
  CHECK(run("seldom", {"--grid-every", "8"}) == Words{"grid-000008", "grid-000016"});
  CHECK(run("never", {"--grid-every", "20"}).empty());
}
