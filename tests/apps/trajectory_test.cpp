// Methods that follow experts, and where these come from.
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/storage/expert_file.h"
#include "lib/storage/set_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// Two iterations of MTT along experts that are followed to epoch 3.
Words mtt(const Words& more) {
  return joined({"condense",
                 "--method",
                 "mtt",
                 "--dataset",
                 "shapes",
                 "--images-per-class",
                 "8",
                 "--net",
                 "ConvNet-2-w8",
                 "--iterations",
                 "2",
                 "--syn-steps",
                 "2",
                 "--lr-images",
                 "1",
                 "--max-start-epoch",
                 "2",
                 "--expert-epochs",
                 "2",
                 "--threads",
                 "1"},
                more);
}

/// Such experts in `file`.
void make_experts(const Workspace& workspace, const std::string& file, const Words& more = {}) {
  workspace.succeed(
      joined({"experts", "--dataset", "shapes", "--images-per-class", "8", "--net", "ConvNet-2-w8",
              "--count", "2", "--epochs", "3", "--threads", "1", "--out", file},
             more));
}

}  // namespace

TEST_CASE("a set says which experts it was made with, and what they cost",
          "[apps][experts][condense]") {
  const Workspace workspace;
  make_experts(workspace, "e.h5");
  workspace.succeed(mtt({"--experts", "e.h5", "--run-dir", "run"}));
  const storage::ExpertReader experts(workspace.path("e.h5"));

  const auto text = workspace.succeed({"info", "run/set.h5"});
  CHECK_THAT(text.out, Contains("2 networks of e.h5, SHA-256 " + experts.id().substr(0, 16)) &&
                           Contains("recipe sgd, ConvNet-2-w8"));
  const auto json = workspace.succeed({"info", "run/set.h5", "--json"});
  const auto document = nlohmann::json::parse(json.out);
  REQUIRE(document["assets"].size() == 1);
  const auto asset = document["assets"][0];
  CHECK(asset["role"] == "experts");
  CHECK(asset["file"] == "e.h5");
  CHECK(asset["sha256"] == experts.id());
  CHECK(asset["count"] == 2);
  CHECK(asset["wall_seconds"] > 0.0);
  CHECK_THAT(asset["note"].get<std::string>(), Contains("3 epochs"));
  CHECK(workspace.succeed({"verify", "run/set.h5"}).exit_code == 0);
}
