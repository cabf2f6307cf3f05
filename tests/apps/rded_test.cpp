// Mosaics of real crops, from teachers to pictures.
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/rng.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "lib/vision/vision.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// Photographs of three sizes: classes differ in their colour, each has `count`.
void write_photographs(const fs::path& root, std::int64_t count, std::int64_t side) {
  const Rng rng(5);
  const std::vector<std::vector<std::int64_t>> sizes = {
      {side, side + 40}, {side + 40, side}, {side + 20, side + 20}};
  for (std::int64_t c = 0; c < 3; ++c) {
    const fs::path folder = root / str("class-", c);
    fs::create_directories(folder);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& size = sizes[std::size_t(i) % 3];
      Tensor picture =
          rng.child("picture", 1000 * c + i).uniform_tensor({3, size[0], size[1]}, 0, 120);
      picture.select(0, c).add_(110);
      vision::write_image(folder / str(i, ".jpg"), picture.to(at::kByte));
    }
  }
}

void check_mosaics(const std::string& net, const std::string& side, const Words& training) {
  const Workspace workspace;
  write_photographs(workspace.path("photos/train"), 8, std::stoll(side));
  write_photographs(workspace.path("photos/test"), 2, std::stoll(side));
  const Words data{"--dataset", "folder", "--data", "photos", "--image-size", side};
  workspace.succeed(joined(joined({"teachers", "--nets", net, "--out", "t.h5"}, data), training));
  const auto made =
      workspace.succeed(joined({"condense", "--method", "rded", "--ipc", "2", "--teachers", "t.h5",
                                "--crops", "2", "--run-dir", "run"},
                               data));
  const auto set = storage::read_set(workspace.path("run/set.h5"));
  const std::int64_t pixels = std::stoll(side);
  CHECK(set.images.sizes() == at::IntArrayRef({6, 3, pixels, pixels}));
  CHECK(set.from_bytes);
  REQUIRE(set.assets.size() == 1);
  CHECK(set.assets[0].note == net);
  // Every cell shows its class.
  const Tensor unit = set.preprocessing.invert(set.images);
  for (std::int64_t i = 0; i < 6; ++i) {
    CHECK(unit[i].mean({1, 2}).argmax().item<std::int64_t>() == i / 2);
  }
  CHECK_THAT(workspace.succeed({"info", "run/set.h5"}).out, Contains("2 per class"));
  workspace.succeed({"show", "run/set.h5", "--out", "grid.png"});
}

}  // namespace

TEST_CASE("crops of photographs become mosaics through the program", "[apps][rded]") {
  check_mosaics("ConvNet-3-BN-w8", "128",
                {"--recipe", "adam", "--lr", "0.01", "--batch-size", "6", "--epochs", "4"});
}

TEST_CASE("photographs of 224 pixels become mosaics by a ResNet-18", "[apps][rded][slow]") {
  check_mosaics("ResNet-18-224", "224", {"--recipe", "adam", "--batch-size", "4", "--epochs", "4"});
}

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
