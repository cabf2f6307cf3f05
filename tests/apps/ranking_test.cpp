// evaluate under protocols that end in a score, on a set of shapes.
#include <csignal>

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

constexpr const char* kFew =
    "epochs=2,drop-epochs=1,test-every=1,lr-search=0.01,0.05,real-epochs=1";

Words scored(const std::string& protocol, const Words& more) {
  return joined({"evaluate", "set.h5", "--protocol", protocol, "--net", "ConvNet-2-w8", "--runs",
                 "1", "--threads", "1"},
                more);
}

/// Without what differs between two runs of the same.
json settled(json document) {
  document.erase("kernels");
  for (auto& training : document["trainings"]) training.erase("seconds");
  return document;
}

}  // namespace

TEST_CASE("a set gets its label robust score, with a given accuracy of real data and a trained one",
          "[apps][evaluate][dd-ranking]") {
  const Workspace& workspace = condensed_shapes();
  const auto given =
      workspace.succeed(scored("ddranking-lrs", {"--protocol-set", kFew, "--real-accuracy", "90"}));
  CHECK_THAT(given.out, Contains("given") && Contains("HLR") && Contains("IOR") &&
                            Contains("LRS") && Contains("chosen on the test images"));
  CHECK_THAT(given.err, Contains("a score of up to 4 networks in each of 1 repetition"));
  const auto trained =
      workspace.succeed(scored("ddranking-lrs", {"--protocol-set", kFew, "--json"}));
  const auto document = json::parse(trained.out);
  CHECK(document["schema"] == "retort.ranking/1");
  CHECK(document["set"] == "set.h5");
  CHECK(document["dataset"] == "shapes");
  CHECK(document["selected_on"] == "test");
  CHECK(document["seeds"] == std::vector<int>{0});
  REQUIRE(document["trainings"].size() == 3);
  CHECK(document["trainings"][0]["trained_on"] == "real");
  const double hlr = document["trainings"][0]["accuracy"]["mean"].get<double>() -
                     document["trainings"][1]["accuracy"]["mean"].get<double>();
  CHECK(document["hlr"]["mean"] == Approx(hlr));
}

TEST_CASE("a set gets its augmentation robust score in its run folder, where reports find it",
          "[apps][evaluate][dd-ranking]") {
  const Workspace& workspace = condensed_shapes();
  const auto result = workspace.succeed({"evaluate", "run", "--protocol", "ddranking-ars", "--net",
                                         "ConvNet-2-w8", "--runs", "1", "--protocol-set",
                                         "epochs=1,drop-epochs=1,test-every=1,lr-search=0.01"});
  CHECK_THAT(result.out, Contains("ARS") && Contains("IOR, augmented"));
  std::size_t scores = 0;
  for (const auto& entry : fs::directory_iterator(workspace.path("run"))) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("ranking-ddranking-ars")) continue;
    ++scores;
    CHECK(json::parse(read_text(entry.path()))["score"] == "ars");
  }
  CHECK(scores == 1);
  const auto report =
      workspace.succeed({"report", "run", "--out", "report.html", "--no-nearest", "--json"});
  const json told = json::parse(report.out)["sets"][0];
  CHECK(told["scores"].size() == 1);
  for (const auto& missing : told["missing"]) CHECK(missing["section"] != "Accuracy");
  CHECK_THAT(read_text(workspace.path("report.html")),
             Contains("Score of protocol ddranking-ars") && Contains("IOR, augmented"));
}

TEST_CASE("an interrupted score goes on from its finished networks to the same result",
          "[apps][evaluate][dd-ranking]") {
  const Workspace workspace;
  fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
  const auto command = [](const std::string& out) {
    return scored("ddranking-lrs", {"--protocol-set",
                                    "epochs=120,drop-epochs=60,test-every=60,hard-test-every=60,"
                                    "lr-search=0.001,0.003,0.01,0.03",
                                    "--real-accuracy", "95", "--out", out});
  };
  Process running = workspace.start(command("stopped.json"));
  const fs::path part = workspace.path("stopped.json.part");
  const ProcessResult stopped = signal_when(running, SIGINT, [&] { return fs::exists(part); });
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 130);
  CHECK_THAT(stopped.err, Contains("finished networks are kept in stopped.json.part"));
  workspace.succeed(command("stopped.json"));
  CHECK_FALSE(fs::exists(part));
  workspace.succeed(command("whole.json"));
  const auto result = [&](const std::string& file) {
    return settled(json::parse(read_text(workspace.path(file))));
  };
  CHECK(result("stopped.json") == result("whole.json"));
}

TEST_CASE("labels of teachers are scored beside hard ones, asked view by view or stored",
          "[apps][evaluate][dd-ranking]") {
  const Workspace workspace;
  fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8", "--epochs",
                     "4", "--batch-size", "32", "--threads", "1", "--out", "t.h5"});
  workspace.succeed({"relabel", "set.h5", "--teachers", "t.h5", "--recipe", "static", "--out",
                     "stored.h5", "--threads", "1"});
  const auto score = [&](const std::string& set, const std::string& more) {
    const auto result = workspace.succeed(
        {"evaluate", set, "--protocol", "ddranking-lrs-soft", "--net", "ConvNet-2-BN-w8", "--runs",
         "1", "--threads", "1", "--teachers", "t.h5", "--real-accuracy", "90", "--protocol-set",
         "epochs=2,test-every=1,hard-test-every=1,lr-search=0.01,batch-size=8" + more, "--json"});
    return json::parse(result.out);
  };
  for (const auto& document :
       {score("set.h5", ""), score("stored.h5", ",labels=static,mix=none")}) {
    REQUIRE(document["trainings"].size() == 3);
    const auto& hard = document["trainings"][0];
    CHECK(hard["trained_on"] == "set");
    CHECK(hard["labels"] == "hard");
    CHECK(hard["augmented"] == false);
    CHECK(document["trainings"][1]["labels"] == "soft");
    CHECK(document["trainings"][1]["augmented"] == true);
    CHECK(document["trainings"][2]["trained_on"] == "random");
    CHECK(document["teachers"]["networks"] == "ConvNet-2-BN-w8");
    CHECK(document["hlr"]["mean"] == Approx(90 - hard["accuracy"]["mean"].get<double>()));
  }
}

TEST_CASE("what has no meaning for a score is refused", "[apps][evaluate][dd-ranking]") {
  const Workspace& workspace = condensed_shapes();
  const auto refused = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
  };
  const Words lrs{"evaluate", "set.h5", "--protocol", "ddranking-lrs"};
  refused(joined(lrs, {"--baselines", "random"}), "option 'baselines': protocol 'ddranking-lrs'");
  refused(joined(lrs, {"--attack", "fgsm"}), "option 'attack'");
  refused(joined(lrs, {"--nets", "MLP,LeNet"}), "of one network; run it once for each");
  refused(joined(lrs, {"--cross-arch", "dc"}), "option 'cross-arch'");
  refused(joined(lrs, {"--real-accuracy", "101"}), "real-accuracy");
  refused(joined(lrs, {"--real-accuracy", "0.9"}), "expected percent, above the 25 of guessing");
  refused({"evaluate", "set.h5", "--protocol", "ddranking-ars", "--real-accuracy", "90"},
          "option 'real-accuracy' changes nothing");
  refused({"evaluate", "set.h5", "--protocol", "ddranking-lrs-soft"}, "--teachers FILE");
}
