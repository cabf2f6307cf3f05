// evaluate --cross-arch on a set of shapes.
#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using nlohmann::json;

TEST_CASE("a pool is judged network by network, with the mean over the others and a heat map",
          "[apps][evaluate][cross-arch]") {
  // Images of 16 pixels are too small for most networks of the pools.
  const Workspace workspace;
  workspace.succeed({"condense", "--method", "random", "--dataset", "codes-10", "--ipc", "1",
                     "--run-dir", "run"});
  const auto result =
      workspace.succeed({"evaluate", "run/set.h5", "--protocol", tiny_protocol(workspace),
                         "--cross-arch", "dc", "--nets", "convnet,ConvNet-2-w8", "--runs-of",
                         "ResNet18=1,VGG-11=1", "--baselines", "random"});
  CHECK_THAT(
      result.out,
      Contains("fewer networks: VGG-11: seed 0; ResNet-18: seed 0") &&
          Contains("networks of pool dc; means are over all but ConvNet-2-w8, the protocol's") &&
          Contains("mean of 6 others"));
  const auto document = json::parse(read_text(workspace.path("run/evaluation.json")));
  std::vector<std::string> names;
  double sum = 0;
  for (const auto& entry : document["results"]) {
    names.push_back(entry["network"]);
    const bool slow = names.back() == "ResNet-18" || names.back() == "VGG-11";
    CHECK(entry["accuracy"]["runs"].size() == (slow ? 1 : 2));
    if (names.back() != "ConvNet-2-w8") sum += entry["accuracy"]["mean"].get<double>();
  }
  CHECK(names == std::vector<std::string>{"MLP", "ConvNet-3", "LeNet", "AlexNet", "VGG-11",
                                          "ResNet-18", "ConvNet-2-w8"});
  const auto& cross = document["cross_architecture"];
  CHECK(cross["pool"] == "dc");
  CHECK(cross["source"] == "ConvNet-2-w8");  // the protocol's: a choice of images has none
  REQUIRE(cross["transfer"].size() == 2);
  CHECK(cross["transfer"][0]["networks"] == 6);
  CHECK(cross["transfer"][0]["mean"] == Approx(sum / 6));
  CHECK(cross["transfer"][1]["trained_on"] == "random");

  workspace.succeed({"report", "run", "--out", "report.html"});
  const std::string page = read_text(workspace.path("report.html"));
  CHECK_THAT(page, Contains("Across architectures") && Contains("ResNet-18") && Contains("LeNet"));
}

TEST_CASE("networks of a pool that do not fit can be left out, and the result says so",
          "[apps][evaluate][cross-arch]") {
  const auto result = condensed_shapes().succeed(
      {"evaluate", "set.h5", "--protocol", tiny_protocol(condensed_shapes()), "--cross-arch", "dc",
       "--without", "VGG-11,AlexNet,ResNet-18", "--runs", "1", "--json"});
  const auto document = json::parse(result.out);
  CHECK(document["cross_architecture"]["pool"] == "dc without VGG-11, AlexNet, ResNet-18");
  CHECK(document["results"].size() == 3);
}

TEST_CASE("networks of a pool that do not fit are refused before anything trains",
          "[apps][evaluate][cross-arch]") {
  const Workspace& workspace = condensed_shapes();
  const auto refused = [&](const Words& more, const std::string& text) {
    const auto result = workspace.retort(
        joined({"evaluate", "set.h5", "--protocol", tiny_protocol(workspace)}, more));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text) && !Contains("training "));
  };
  refused({"--cross-arch", "dcc"}, "unknown pool of networks 'dcc'; did you mean 'dc'?");
  refused({"--cross-arch", "mtt"}, "16x16");
  refused({"--without", "VGG-11"}, "cross-arch");
  refused({"--cross-arch", "dc", "--without", "MLP,ConvNet,LeNet,alexnet,VGG11,resnet_18"},
          "leaves no network of pool 'dc'");
  refused({"--cross-arch", "dc", "--without", "VGG-12"}, "did you mean 'VGG-11'?");
  refused({"--runs-of", "MLP"}, "expected a network and a number, as in ResNet-18=1, found 'MLP'");
  refused({"--runs-of", "MLP=0"}, "found 'MLP=0'");
  refused({"--runs-of", "MLP=1"}, "option 'runs-of': unknown network 'MLP'");
  refused({"--nets", "MLP", "--runs-of", "MLP=3"}, "expected at most 2, the number of seeds");
}
