// Crops of real images through the program; photographs_test.cpp makes mosaics of some.
#include <nlohmann/json.hpp>

#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TEST_CASE("rded says what it needs, and what it will cost", "[apps][rded]") {
  const Workspace workspace;
  const Words words{"condense", "--method", "rded",     "--dataset", "shapes",
                    "--ipc",    "2",        "--mosaic", "1"};
  workspace.succeed({"teachers", "--dataset", "shapes", "--images-per-class", "30", "--nets",
                     "ConvNet-2-BN-w8", "--recipe", "adam", "--lr", "0.01", "--batch-size", "16",
                     "--epochs", "5", "--out", "t.h5"});
  const auto cost = workspace.succeed(joined(words, {"--teachers", "t.h5", "--dry-run", "--json"}));
  CHECK(nlohmann::json::parse(cost.out)["iterations"] == 1);
  CHECK(nlohmann::json::parse(cost.out)["total_seconds"].get<double>() > 0);
  const auto other = workspace.retort(joined(words, {"--teachers", "t.h5", "--crop-images", "1"}));
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("crop-images 1: 2 are needed, one per crop: ipc 2 x 1 x 1"));
}
