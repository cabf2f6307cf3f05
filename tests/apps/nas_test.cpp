// nas on shapes: 4 classes, images of 16x16.
#include <algorithm>
#include <csignal>
#include <map>

#include <nlohmann/json.hpp>

#include "lib/config/options.h"
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

/// A search among four small networks, but for what `more` says otherwise.
Words nas(const Words& more) {
  const std::vector<Words> defaults{{"--dataset", "shapes"},
                                    {"--images-per-class", "20"},
                                    {"--widths", "32"},
                                    {"--depths", "1"},
                                    {"--norms", "none,BN"},
                                    {"--activations", "ReLU,sigmoid"},
                                    {"--poolings", "average"},
                                    {"--proxies", "random,early-stopping"},
                                    {"--ipc", "2"},
                                    {"--epochs", "2"},
                                    {"--reference-epochs", "1"},
                                    {"--threads", "1"}};
  Words words{"nas"};
  for (const Words& pair : defaults) {
    const bool said = std::find(more.begin(), more.end(), pair.front()) != more.end();
    if (!said) words.insert(words.end(), pair.begin(), pair.end());
  }
  return joined(words, more);
}

const Workspace& finished_search() {
  static const Workspace workspace;
  static const bool made = [] {
    return workspace.retort(nas({"--run-dir", "search"})).exit_code == 0;
  }();
  REQUIRE(made);
  return workspace;
}

json results_of(const fs::path& search) { return json::parse(read_text(search / "results.json")); }

/// Without what a clock decides, or the number of calls of one command.
json without_clock(json document) {
  document.erase("kernels");
  document["reference"].erase("training_seconds");
  document["reference"].erase("wall_seconds");
  for (auto& proxy : document["proxies"]) {
    for (const char* name : {"training_seconds", "wall_seconds", "condensing_seconds"}) {
      proxy.erase(name);
    }
  }
  return document;
}

struct Kept {
  std::string text;
  fs::file_time_type time;
  bool operator==(const Kept&) const = default;
};

std::map<std::string, Kept> records_in(const fs::path& search) {
  std::map<std::string, Kept> found;
  for (const char* course : {"random", "early-stopping", "reference"}) {
    std::error_code none_yet;
    for (const auto& entry : fs::directory_iterator(search / "trainings" / course, none_yet)) {
      const fs::path& file = entry.path();
      if (file.extension() != ".json") continue;  // half written: it may vanish
      found[file.string()] = {read_text(file), fs::last_write_time(file)};
    }
  }
  return found;
}

}  // namespace

TEST_CASE("a search leaves sets, a record of every training, and its results", "[apps][nas]") {
  const Workspace& workspace = finished_search();
  const fs::path search = workspace.path("search");
  for (const char* name : {"config.cfg", "log.txt", "architectures.csv", "scatter-random.svg",
                           "scatter-early-stopping.svg", "sets/random/set.h5"}) {
    INFO(name);
    CHECK(fs::exists(search / name));
  }
  CHECK(records_in(search).size() == 4 * (2 + 2));
  const json document = results_of(search);
  CHECK(document["schema"] == "retort.nas/1");
  CHECK(document["held_out"] == 8);
  CHECK(document["architectures"].size() == 4);
  CHECK(document["reference"]["tested_on"] == "test");
  CHECK(document["reference"]["images"] == 80);
  CHECK(document["reference"]["epochs"] == 2);  // one nominal
  CHECK(document["protocol"] == "dsa (epochs = 2)");
  REQUIRE(document["proxies"].size() == 2);
  CHECK(document["proxies"][0]["stored"] == 8);
  CHECK(document["proxies"][1]["stored"] == 72);
  CHECK(document["proxies"][1]["images"] == 8);
}

TEST_CASE("a finished search shows its result again and its configuration repeats it",
          "[apps][nas]") {
  const Workspace& workspace = finished_search();
  const std::string before = read_text(workspace.path("search/results.json"));
  const auto again = workspace.succeed({"nas", "--run-dir", "search", "--resume"});
  CHECK_THAT(again.out,
             Contains("shapes, 4 ConvNets") && Contains("early-stopping") && Contains("reference"));
  const auto document = workspace.succeed(nas({"--run-dir", "search", "--json"}));
  CHECK(document.out == before);
  workspace.succeed({"nas", "--config", "search/config.cfg", "--run-dir", "repeated"});
  CHECK(without_clock(results_of(workspace.path("repeated"))) ==
        without_clock(json::parse(before)));
  CHECK(read_text(workspace.path("search/config.cfg")) ==
        read_text(workspace.path("repeated/config.cfg")));
}

TEST_CASE("a search for what cannot be is refused before anything is made", "[apps][nas]") {
  const Workspace& workspace = finished_search();
  const auto refused = [&](const Words& more, const std::string& why, int exit_code = 2) {
    INFO(why);
    const auto result = workspace.retort(nas(joined({"--run-dir", "refused"}, more)));
    INFO(result.err);
    CHECK(result.exit_code == exit_code);
    CHECK_THAT(result.err, Contains(why));
    CHECK_FALSE(fs::exists(workspace.path("refused")));
  };
  refused({"--widths", "32,48"}, "'widths': the grid knows 32, 64, 128, 256; found '48'");
  refused({"--norms", ""}, "'norms': the grid knows none, BN, LN, IN, GN; found nothing");
  refused({"--proxies", "mtt"}, "'mtt' follows networks that were trained before");
  refused({"--proxies", "dmm"}, "did you mean 'dm'");
  refused({"--proxies", "random,random"}, "two proxies cannot both be called 'random'");
  refused({"--proxies", ""}, "no proxy: give some with --proxies or --sets");
  refused({"--method-set", "dm:iterations=3"}, "'dm' is none of the proxies");
  refused({"--method-set", "random"}, "expected method:option=value, found 'random'");
  refused({"--method-set", "random:lr=3"}, "lr");
  refused({"--ipc", "19"}, "ipc 19 is above the size of class");
  refused({"--protocol", "fkd-300"}, "'fkd-300' trains on labels of teachers");
  refused({"--protocol-set", "epochs=3"}, "epochs have options of their own");
  refused({"--top", "5"}, "there are 4 architectures, found 5");
  refused({"--hold-out", "0"}, "hold-out");
  refused({"--sets", "nothing.h5"}, "nothing.h5", 1);
  const auto refuse = [&](const Words& words, const std::string& why) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(why));
  };
  refuse({"nas", "--run-dir", "nowhere", "--resume"}, "there is no search in 'nowhere'");
  refuse(nas({"--run-dir", "search", "--seed", "3"}), "seed: 0 / 3");
  refuse(nas({"--run-dir", "search/sets"}), "go on with --resume, or choose another");
}

TEST_CASE("sets that are given are proxies, and told when they saw what is held out",
          "[apps][nas]") {
  const Workspace workspace;
  fs::copy_file(finished_search().path("search/sets/random/set.h5"), workspace.path("apart.h5"));
  // Its configuration names a part to hold out, which without checks nobody does.
  workspace.succeed({"condense", "--method", "random", "--dataset", "shapes", "--images-per-class",
                     "20", "--ipc", "1", "--threads", "1", "--run-dir", "run", "--out", "seen.h5"});
  const auto result = workspace.succeed(
      nas({"--proxies", "", "--sets", "apart.h5,seen.h5", "--reference-seeds", "1", "--json"}));
  CHECK_THAT(result.err, Contains("the set 'seen' may know training images that its networks are "
                                  "scored on") &&
                             !Contains("the set 'apart'"));
  const json document = json::parse(result.out);
  REQUIRE(document["proxies"].size() == 2);
  CHECK(document["proxies"][0]["name"] == "apart");
  CHECK(document["proxies"][0]["kind"] == "set");
  CHECK(document["proxies"][0]["stored"] == 8);
  CHECK(document["reference"]["reliability"].is_null());
  const auto other = workspace.retort(
      nas({"--dataset", "shapes-rgb", "--proxies", "", "--sets", "apart.h5", "--run-dir", "new"}));
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("proxy 'apart'"));
  CHECK_FALSE(fs::exists(workspace.path("new")));
}

TEST_CASE("options of methods are those of the proxies", "[apps][nas]") {
  const Workspace workspace;
  workspace.succeed(
      nas({"--proxies", "dm", "--method-set", "dm:iterations=2,dm:net=ConvNet-2-w8,dm:batch-real=4",
           "--run-dir", "a", "--norms", "IN", "--activations", "ReLU"}));
  const std::string metrics = read_text(workspace.path("a/sets/dm/metrics.csv"));
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 3);
  // The set tells all of them, each once.
  const auto set = storage::read_set(workspace.path("a/sets/dm/set.h5"));
  std::map<std::string, std::string> told;
  for (const auto& entry : config::parse_config(set.provenance.config, "set")) {
    told[entry.key] = entry.value;
  }
  CHECK(told.at("method") == "dm");
  CHECK(told.at("batch-real") == "4");
  CHECK(told.at("hold-out") == "0.1");
  CHECK(set.provenance.method == "dm");
  CHECK_THAT(read_text(workspace.path("a/config.cfg")),
             Contains("method-set = dm:iterations=2,dm:net=ConvNet-2-w8,dm:batch-real=4"));
}

TEST_CASE("a search says what it would cost", "[apps][nas]") {
  const Workspace& workspace = finished_search();
  const auto cost =
      json::parse(workspace.succeed(nas({"--dry-run", "--json", "--run-dir", "new"})).out);
  CHECK(cost["schema"] == "retort.nas-prediction/1");
  CHECK(cost["proxy_trainings"] == 8);
  CHECK(cost["reference_trainings"] == 8);
  CHECK(cost["total_seconds"].get<double>() ==
        Approx(cost["condensing_seconds"].get<double>() + cost["proxy_seconds"].get<double>() +
               cost["reference_seconds"].get<double>()));
  CHECK(cost["total_seconds"] > 0);
  CHECK_FALSE(fs::exists(workspace.path("new")));
  const auto text = workspace.succeed(nas({"--dry-run"}));
  CHECK_THAT(text.out, Contains("8 trainings, ") && Contains("in all"));
}

TEST_CASE("a search killed amid its trainings goes on by the same command and trains none twice",
          "[apps][nas][resume]") {
  const Workspace workspace;
  const auto search = [&](const std::string& name) {
    return nas({"--epochs", "20", "--reference-epochs", "10", "--run-dir", name});
  };
  workspace.succeed(search("whole"));
  const fs::path killed = workspace.path("killed");
  std::map<std::string, Kept> before;
  for (const std::size_t moment : {std::size_t{2}, std::size_t{7}}) {
    Process process = workspace.start(search("killed"));
    wait_until([&] { return records_in(killed).size() >= moment; });
    process.signal(SIGKILL);
    INFO(process.wait().err);
    const auto now = records_in(killed);
    REQUIRE(now.size() >= moment);
    if (fs::exists(killed / "results.json")) WARN("the search ended before it could be killed");
    for (const auto& [file, kept] : before) CHECK(now.at(file) == kept);
    before = now;
  }
  write_text(killed / "trainings" / "random" / "ConvNet.json.tmp.1", "half a record");
  workspace.succeed(search("killed"));
  const auto after = records_in(killed);
  CHECK(after.size() == 16);
  for (const auto& [file, kept] : before) {
    INFO(file);
    CHECK(after.at(file) == kept);
  }
  CHECK(without_clock(results_of(killed)) == without_clock(results_of(workspace.path("whole"))));
  CHECK(read_text(killed / "architectures.csv") ==
        read_text(workspace.path("whole/architectures.csv")));
  for (const auto& entry : fs::recursive_directory_iterator(killed)) {
    INFO(entry.path());
    CHECK_FALSE(target_of_temporary(entry.path()).has_value());
  }
}

TEST_CASE("an interrupted search saves, and says how it goes on", "[apps][nas][resume]") {
  const Workspace workspace;
  const auto interrupted = [&](const Words& words, const fs::path& moment) {
    Process process = workspace.start(words);
    wait_until([&] { return fs::exists(workspace.path("search") / moment); });
    process.signal(SIGINT);
    const ProcessResult result = process.wait();
    CHECK(result.exit_code == 130);
    CHECK_THAT(result.err, Contains("go on with retort nas --run-dir search --resume"));
  };
  const Words words = nas({"--epochs", "100000", "--run-dir", "search", "--proxies", "random"});
  interrupted(words, "sets/random/set.h5");
  CHECK_THAT(read_text(workspace.path("search/log.txt")), Contains("are kept in search"));
}
