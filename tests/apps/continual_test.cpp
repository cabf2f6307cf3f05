// continual on shapes: 4 classes in 2 steps.
#include <algorithm>
#include <csignal>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/storage/set_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// A study that takes less than a second, but for what `more` says otherwise.
Words continual(const Workspace& workspace, const Words& more) {
  const std::vector<Words> defaults{
      {"--dataset", "shapes"}, {"--steps", "2"},
      {"--ipc", "2"},          {"--orders", "2"},
      {"--runs", "2"},         {"--images-per-class", "10"},
      {"--threads", "1"},      {"--protocol", tiny_protocol(workspace)}};
  Words words{"continual"};
  for (const Words& pair : defaults) {
    const bool said = std::find(more.begin(), more.end(), pair.front()) != more.end();
    if (!said) words.insert(words.end(), pair.begin(), pair.end());
  }
  return joined(words, more);
}

Words by_random(const Workspace& workspace, const Words& more) {
  return continual(workspace, joined({"--method", "random"}, more));
}

const Workspace& finished_study() {
  static const Workspace workspace;
  static const bool made = [] {
    return workspace.retort(by_random(workspace, {"--run-dir", "study"})).exit_code == 0;
  }();
  REQUIRE(made);
  return workspace;
}

json results_of(const fs::path& study) { return json::parse(read_text(study / "results.json")); }

/// Accuracies of all networks, without what a clock decides.
std::vector<double> accuracies(const fs::path& study) {
  std::vector<double> all;
  const json document = results_of(study);
  for (const auto& step : document.at("results")) {
    for (const double accuracy : step.at("accuracy").at("runs")) all.push_back(accuracy);
  }
  return all;
}

/// Of accuracies.csv: order, step and seed -> seconds that the network took.
std::map<std::string, std::string> network_seconds(const fs::path& study) {
  std::map<std::string, std::string> found;
  std::istringstream lines(read_text(study / "accuracies.csv"));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    found[cells.at(0) + "/" + cells.at(1) + "/" + cells.at(4)] = cells.at(7);
  }
  return found;
}

}  // namespace

TEST_CASE("a study leaves a set for every step of every order, and its results",
          "[apps][continual]") {
  const Workspace& workspace = finished_study();
  const fs::path study = workspace.path("study");
  for (const char* name : {"config.cfg", "log.txt", "accuracies.csv", "curve.svg"}) {
    INFO(name);
    CHECK(fs::exists(study / name));
  }
  for (const char* place :
       {"order-0/step-1", "order-0/step-2", "order-1/step-1", "order-1/step-2"}) {
    INFO(place);
    const auto set = storage::read_set(study / place / "set.h5");
    CHECK(set.images.size(0) == 4);
    CHECK(set.provenance.class_names.size() == 2);
    CHECK_FALSE(fs::exists(study / place / "networks.json.part"));
  }
  const json document = results_of(study);
  CHECK(document["schema"] == "retort.continual/1");
  CHECK(document["tested_on"] == "test");
  CHECK(document["protocol"] == "tiny");
  REQUIRE(document["results"].size() == 2);
  CHECK(document["results"][0]["classes_seen"] == 2);
  CHECK(document["results"][1]["images"] == 8);
  CHECK(document["last"]["runs"].size() == 4);
  CHECK(document["last"] == document["results"][1]["accuracy"]);
  CHECK(network_seconds(study).size() == 8);
}

TEST_CASE("a finished study shows its result again and its configuration repeats it",
          "[apps][continual]") {
  const Workspace& workspace = finished_study();
  const std::string before = read_text(workspace.path("study/results.json"));
  const auto again = workspace.succeed({"continual", "--run-dir", "study", "--resume"});
  CHECK_THAT(again.out, Contains("shapes in 2 steps of 2 classes, each condensed by random") &&
                            Contains("2 orders of classes x 2 networks") && Contains("last step "));
  CHECK(read_text(workspace.path("study/results.json")) == before);
  const auto document =
      workspace.succeed({"continual", "--run-dir", "study", "--resume", "--json"});
  CHECK(document.out == before);
  workspace.succeed({"continual", "--config", "study/config.cfg", "--run-dir", "repeated"});
  CHECK(accuracies(workspace.path("study")) == accuracies(workspace.path("repeated")));
  CHECK(read_text(workspace.path("study/config.cfg")) ==
        read_text(workspace.path("repeated/config.cfg")));
}

TEST_CASE("a study with what cannot be is refused before anything is made", "[apps][continual]") {
  const Workspace& workspace = finished_study();
  const auto refused = [&](const Words& more, const std::string& why) {
    INFO(why);
    const auto result =
        workspace.retort(continual(workspace, joined({"--run-dir", "refused"}, more)));
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(why));
    CHECK_FALSE(fs::exists(workspace.path("refused")));
  };
  refused({}, "which method? Give --method NAME or --preset NAME; possible are random, ");
  refused({"--method", "sre2l"}, "the method 'sre2l' follows networks that were trained before");
  refused({"--method", "mtt"}, "there would have to be some for the classes of each");
  const auto run = [&](const Words& words, const std::string& why) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(why));
    CHECK_FALSE(fs::exists(workspace.path("refused")));
  };
  const Words common{"continual", "--method", "random",    "--dataset", "shapes",
                     "--run-dir", "refused",  "--threads", "1"};
  run(joined(common, {"--steps", "2", "--zca"}),
      "option 'zca': whitening is fitted to the images of all classes");
  run(joined(common, {"--steps", "3"}),
      "4 classes cannot be cut into 3 equal steps; possible are 1, 2, 4");
  run(joined(common, {"--steps", "2", "--ipc", "101"}),
      "ipc 101 is above the size of class 'disc': it has 100 training images");
  run(joined(common, {"--steps", "2", "--protocol", "fkd-300"}),
      "'fkd-300' trains on labels of teachers");
  run(joined(common, {"--steps", "2", "--iterations", "3"}), "makes no iterations");
  run(joined(common, {"--steps", "2", "--protocol-set", "net=ConvNet-9"}), "ConvNet-9");
  run(by_random(workspace, {"--resume"}), "--resume needs --run-dir");
  run(by_random(workspace, {"--run-dir", "study"}), "go on with --resume");
  run(by_random(workspace, {"--run-dir", "study", "--resume", "--seed", "3"}), "seed: 0 / 3");
}

TEST_CASE("what cannot be condensed leaves no folder", "[apps][continual]") {
  const Workspace& workspace = finished_study();
  const auto result = workspace.retort(
      continual(workspace, {"--method", "dm", "--init-set", "study/order-0/step-1/set.h5", "--ipc",
                            "3", "--run-dir", "refused"}));
  INFO(result.err);
  CHECK(result.exit_code == 2);
  CHECK_FALSE(fs::exists(workspace.path("refused")));
}

TEST_CASE("a study says what it would cost, and its options", "[apps][continual]") {
  const Workspace& workspace = finished_study();
  const auto cost = json::parse(
      workspace.succeed(by_random(workspace, {"--dry-run", "--json", "--run-dir", "new"})).out);
  CHECK(cost["schema"] == "retort.continual-prediction/1");
  CHECK(cost["total_seconds"] ==
        cost["condensing_seconds"].get<double>() + cost["network_seconds"].get<double>());
  CHECK_FALSE(fs::exists(workspace.path("new")));
  const auto text = workspace.succeed(by_random(workspace, {"--dry-run"}));
  CHECK_THAT(text.out, Contains("4 sets, ") && Contains("in all"));
  const auto help = workspace.succeed({"continual", "--method", "dm", "--help"});
  CHECK_THAT(help.out, Contains("--steps") && Contains("--lr-images") &&
                           Contains("retort continual --method dm --dataset cifar100"));
  for (const char* name : {"datadam", "dc", "dsa", "idc", "gm", "herding", "k-center"}) {
    INFO(name);  // no option of a method has the name of one of the study
    workspace.succeed({"continual", "--method", name, "--help"});
  }
  const auto plain = workspace.succeed({"continual", "--help"});
  CHECK_THAT(plain.out, Contains("k-means") && !Contains("sre2l"));
}

TEST_CASE("settings are tried on training images that nothing else sees", "[apps][continual]") {
  const Workspace& workspace = finished_study();
  const auto result = workspace.succeed(
      by_random(workspace, {"--hold-out", "0.5", "--orders", "1", "--runs", "1", "--json"}));
  const auto document = json::parse(result.out);
  CHECK(document["tested_on"] == "held-out training images");
  const auto few = workspace.retort(by_random(workspace, {"--hold-out", "0.5", "--ipc", "6"}));
  CHECK(few.exit_code == 2);
  CHECK_THAT(few.err, Contains("ipc 6 is above the size"));
}

TEST_CASE("a study killed at any moment goes on and trains no network twice",
          "[apps][continual][resume]") {
  const Workspace workspace;
  const auto study = [&](const std::string& name, const Words& more) {
    return continual(
        workspace, joined({"--method", "dm", "--net", "ConvNet-2-w8", "--batch-real", "8",
                           "--iterations", "60", "--protocol-set", "epochs=40", "--run-dir", name},
                          more));
  };
  workspace.succeed(study("whole", {}));
  const fs::path killed = workspace.path("killed");
  Words words = study("killed", {});
  std::map<std::uint64_t, double> first_networks;
  for (const char* moment : {"order-0/step-1/networks.json.part", "order-0/step-2/metrics.csv",
                             "order-1/step-1/set.h5"}) {
    Process process = workspace.start(words);
    const auto ended = signal_when(process, SIGKILL, [&] { return fs::exists(killed / moment); });
    INFO(ended.err);
    REQUIRE(fs::exists(killed / moment));
    if (fs::exists(killed / "results.json")) WARN("the study ended before it could be killed");
    const fs::path part = killed / "order-0/step-1/networks.json.part";
    if (first_networks.empty() && fs::exists(part)) {
      const json kept = json::parse(read_text(part));
      for (const auto& run : kept.at("runs")) {
        first_networks[run.at("seed").get<std::uint64_t>()] = run.at("seconds").get<double>();
      }
      CHECK_FALSE(first_networks.empty());
    }
    words = {"continual", "--run-dir", "killed", "--resume"};
  }
  std::map<std::string, std::string> before;
  if (fs::exists(killed / "accuracies.csv")) before = network_seconds(killed);
  CHECK(before.size() >= 4);
  write_text(killed / "order-0" / "step-1" / "set.h5.tmp.1", "half a set");
  workspace.succeed(words);
  CHECK(accuracies(killed) == accuracies(workspace.path("whole")));
  const auto after = network_seconds(killed);
  CHECK(after.size() == 8);
  for (const auto& [network, seconds] : before) CHECK(after.at(network) == seconds);
  for (const auto& [seed, seconds] : first_networks) {
    CHECK(std::stod(after.at("0/1/" + std::to_string(seed))) == seconds);
  }
  for (const char* set : {"order-0/step-1/set.h5", "order-1/step-2/set.h5"}) {
    CHECK(at::equal(storage::read_set(killed / set).images,
                    storage::read_set(workspace.path("whole") / set).images));
  }
  for (const auto& entry : fs::recursive_directory_iterator(killed)) {
    INFO(entry.path());
    CHECK_FALSE(target_of_temporary(entry.path()).has_value());
    CHECK(entry.path().filename() != "networks.json.part");
  }
}

TEST_CASE("a study that keeps its networks goes on with them", "[apps][continual][resume]") {
  const Workspace workspace;
  const auto study = [&](const Words& more) {
    return joined({"continual", "--variant", "idc", "--method", "random", "--dataset", "shapes",
                   "--steps", "2", "--ipc", "2", "--runs", "2", "--threads", "1", "--protocol-set",
                   "epochs=2,drop-epochs=1,net=ConvNet-2-w8"},
                  more);
  };
  const auto whole = workspace.succeed(study({"--run-dir", "whole"}));
  CHECK_THAT(whole.out, Contains("protocol idc (") && Contains("kept between steps") &&
                            Contains("1 order of classes x 2 networks"));
  workspace.succeed(study({"--run-dir", "killed"}));
  const fs::path killed = workspace.path("killed");
  const auto seconds = network_seconds(killed);
  for (const char* name : {"results.json", "order-0/step-2/network-1.h5"})
    fs::remove(killed / name);
  workspace.succeed({"continual", "--run-dir", "killed", "--resume"});
  CHECK(accuracies(killed) == accuracies(workspace.path("whole")));
  CHECK(results_of(killed)["variant"] == "idc");
  CHECK(network_seconds(killed).at("0/2/0") == seconds.at("0/2/0"));
  // A protocol of the same path that says something else makes other networks.
  const auto other = workspace.succeed(study({"--run-dir", "short", "--dry-run"}));
  CHECK_THAT(other.out, Contains("2 sets, "));
  workspace.succeed({"continual", "--variant", "idc", "--method", "random", "--dataset", "shapes",
                     "--steps", "2", "--ipc", "2", "--runs", "1", "--threads", "1", "--run-dir",
                     "shorter", "--protocol-set", "epochs=10,net=ConvNet-2-w8"});
  CHECK(results_of(workspace.path("shorter"))["protocol_options"]["drop-epochs"] == "6,8");
  const auto defaults =
      workspace.succeed({"continual", "--variant", "idc", "--method", "random", "--dataset",
                         "shapes", "--steps", "2", "--dry-run", "--ipc", "2"});
  CHECK_THAT(defaults.out, Contains("2 sets, ") && Contains("networks"));
}

TEST_CASE("a study is not taken for one of another protocol with the same name",
          "[apps][continual][resume]") {
  const Workspace workspace;
  const std::string protocol = tiny_protocol(workspace);
  const Words words = by_random(workspace, {"--run-dir", "study", "--variant", "idc", "--runs", "1",
                                            "--orders", "1", "--protocol", protocol});
  workspace.succeed(words);
  const fs::path study = workspace.path("study");
  const auto seconds = network_seconds(study);
  write_text(protocol, read_text(protocol) + "lr = 0.5\n");
  const auto refused = workspace.retort({"continual", "--run-dir", "study", "--resume"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err,
             Contains("results.json' is the result of another protocol, also named tiny"));
  fs::remove(study / "results.json");
  workspace.succeed({"continual", "--run-dir", "study", "--resume"});
  for (const auto& [network, before] : seconds) CHECK(network_seconds(study).at(network) != before);
}

TEST_CASE("an interrupted study says how it goes on", "[apps][continual][resume]") {
  const Workspace workspace;
  Process process = workspace.start(
      continual(workspace, {"--method", "dm", "--net", "ConvNet-2-w8", "--batch-real", "8",
                            "--iterations", "100000", "--run-dir", "study"}));
  const ProcessResult result = signal_when(process, SIGINT, [&] {
    return fs::exists(workspace.path("study/order-0/step-1/metrics.csv"));
  });
  CHECK(result.exit_code == 130);
  CHECK_THAT(result.err, Contains("go on with retort continual --run-dir study --resume"));
  CHECK_THAT(read_text(workspace.path("study/order-0/step-1/log.txt")),
             Contains("retort continual --run-dir study --resume"));
}
