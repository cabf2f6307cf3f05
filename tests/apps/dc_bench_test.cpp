// evaluate --augment on a set of shapes.
#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using nlohmann::json;

TEST_CASE("a set is trained on under every augmentation, with the best and the mean of them",
          "[apps][evaluate][dc-bench]") {
  const Workspace& workspace = condensed_shapes();
  const auto result = workspace.succeed(
      {"evaluate", "set.h5", "--protocol", "dc-bench", "--protocol-set", "epochs=4,plain-epochs=2",
       "--augment", "none,dsa,autoaugment,randaugment,imagenet,cifar", "--nets", "ConvNet-2-w8,MLP",
       "--runs", "1", "--baselines", "random", "--threads", "1", "--out", "augmented.json"});
  CHECK_THAT(result.out, Contains("network       augmentation ") && Contains("none for 3 epochs") &&
                             Contains("cifar for 5 epochs") && Contains("best: ") &&
                             Contains("* the augmentation is chosen on the test images"));
  const auto document = json::parse(read_text(workspace.path("augmented.json")));
  REQUIRE(document["results"].size() == 12);
  CHECK(document["results"][0]["augmentation"] == "none");
  CHECK(document["results"][0]["sgd_steps"] == 3);
  CHECK(document["results"][5]["augmentation"] == "cifar");
  CHECK(document["results"][5]["sgd_steps"] == 5);
  CHECK(document["baselines"][11]["sgd_steps"] == 5);
  const auto& first = document["augmentations"][0];
  REQUIRE(document["augmentations"].size() == 4);
  CHECK(first["network"] == "ConvNet-2-w8");
  CHECK(first["best"]["selected_on"] == "test");
  double best = 0;
  double sum = 0;
  for (int i = 0; i < 6; ++i) {
    const double mean = document["results"][std::size_t(i)]["accuracy"]["mean"];
    best = std::max(best, mean);
    sum += mean;
  }
  CHECK(first["best"]["mean"] == Approx(best));
  CHECK(first["mean"] == Approx(sum / 6));
  CHECK(document["augmentations"][2]["trained_on"] == "random");

  workspace.succeed(
      {"report", "set.h5", "--evaluations", "augmented.json", "--out", "augmented.html"});
  CHECK_THAT(read_text(workspace.path("augmented.html")),
             Contains("ConvNet-2-w8, autoaugment") && Contains("MLP, cifar"));
}

TEST_CASE("an augmentation is not the protocol's own, and says so in the networks it makes",
          "[apps][evaluate][dc-bench]") {
  const Workspace& workspace = condensed_shapes();
  const auto judged = [&](const Words& more) {
    const auto result =
        workspace.succeed(joined({"evaluate", "set.h5", "--protocol", "dc-bench", "--protocol-set",
                                  "epochs=30,plain-epochs=2", "--net", "ConvNet-2-w8", "--runs",
                                  "1", "--threads", "1", "--json"},
                                 more));
    return json::parse(result.out)["results"][0];
  };
  // Without --augment the protocol's own is DSA.
  const auto own = judged({});
  CHECK_FALSE(own.contains("augmentation"));
  const auto dsa = judged({"--augment", "dsa"});
  CHECK(dsa["confusion"] == own["confusion"]);
  const auto pixels = judged({"--augment", "imagenet"});
  CHECK(pixels["confusion"] != own["confusion"]);
  CHECK(judged({"--augment", "imagenet"})["confusion"] == pixels["confusion"]);
}

TEST_CASE("augmentations that cannot be are refused", "[apps][evaluate][dc-bench]") {
  const Workspace& workspace = condensed_shapes();
  const auto refused = [&](const Words& more, const std::string& text) {
    const auto result = workspace.retort(joined({"evaluate", "set.h5"}, more));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
  };
  refused({"--augment", "randaugmnt"},
          "unknown augmentation 'randaugmnt'; did you mean 'randaugment'?");
  refused({"--augment", "dsa,none,dsa"}, "each may be named once");
  refused({"--augment", "dsa", "--protocol", "ddranking-ars"}, "option 'augment'");
  refused({"--augment", "none,dsa", "--cross-arch", "dc"}, "expected one augmentation");
  refused({"--augment", "dsa", "--protocol", "fkd-300"}, "labels of teachers");
  refused({"--protocol-set", "pixel-augmentation=cifar"}, "must be none and empty");
}
