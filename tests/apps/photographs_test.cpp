// Photographs of several sizes in class folders, from teachers to students.
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/rng.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "lib/storage/teacher_file.h"
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

/// photos/ and teachers.h5 in `workspace`.
/// @return the options that open these photographs
Words with_teachers(const Workspace& workspace, const std::string& net, const std::string& side,
                    const Words& training) {
  write_photographs(workspace.path("photos/train"), 8, std::stoll(side));
  write_photographs(workspace.path("photos/test"), 2, std::stoll(side));
  const Words data{"--dataset", "folder", "--data", "photos", "--image-size", side};
  workspace.succeed(
      joined(joined({"teachers", "--nets", net, "--out", "teachers.h5"}, data), training));
  return data;
}

/// Every image of run/set.h5 is two of a class, as bytes, of this side.
data::SyntheticSet checked_set(const Workspace& workspace, const std::string& net,
                               const std::string& side) {
  auto set = storage::read_set(workspace.path("run/set.h5"));
  const std::int64_t pixels = std::stoll(side);
  CHECK(set.images.sizes() == at::IntArrayRef({6, 3, pixels, pixels}));
  CHECK(set.from_bytes);
  REQUIRE(set.assets.size() == 1);
  CHECK(set.assets[0].note == net);
  return set;
}

void make_mosaics(const Workspace& workspace, const std::string& net, const std::string& side,
                  const Words& data) {
  workspace.succeed(joined({"condense", "--method", "rded", "--ipc", "2", "--teachers",
                            "teachers.h5", "--crops", "2", "--run-dir", "run"},
                           data));
  const auto set = checked_set(workspace, net, side);
  // Every cell shows its class.
  const Tensor unit = set.preprocessing.invert(set.images);
  for (std::int64_t i = 0; i < 6; ++i) {
    CHECK(unit[i].mean({1, 2}).argmax().item<std::int64_t>() == i / 2);
  }
  CHECK_THAT(workspace.succeed({"info", "run/set.h5"}).out, Contains("2 per class"));
  workspace.succeed({"show", "run/set.h5", "--out", "grid.png"});
}

Words recover(const Words& data) {
  return joined({"condense", "--method", "sre2l", "--ipc", "2", "--init", "real", "--iterations",
                 "2", "--teachers", "teachers.h5", "--crop-area", "0.5"},
                data);
}

}  // namespace

TEST_CASE("crops of photographs become mosaics through the program", "[apps][photographs]") {
  const Workspace workspace;
  const std::string net = "ConvNet-3-BN-w8";
  make_mosaics(
      workspace, net, "128",
      with_teachers(workspace, net, "128",
                    {"--recipe", "adam", "--lr", "0.01", "--batch-size", "6", "--epochs", "4"}));
}

TEST_CASE("photographs that are decoded as needed give the same teachers and images",
          "[apps][photographs]") {
  const Workspace workspace;
  const Words training{"--recipe", "adam", "--lr", "0.01", "--batch-size", "6", "--epochs", "4"};
  const Words data = with_teachers(workspace, "ConvNet-3-BN-w8", "32", training);
  const auto whole =
      workspace.succeed(joined(recover(data), {"--run-dir", "whole", "--out", "whole.h5"}));
  CHECK_THAT(whole.err, !Contains("decoded from disk"));
  const Words lazily = joined(data, {"--image-memory", "0"});
  workspace.succeed(joined(
      joined({"teachers", "--nets", "ConvNet-3-BN-w8", "--out", "lazy-t.h5"}, lazily), training));
  const auto lazy =
      workspace.succeed(joined(recover(lazily), {"--run-dir", "lazy", "--out", "lazy.h5"}));
  CHECK_THAT(lazy.err, Contains("decoded from disk whenever they are needed"));
  CHECK_THAT(lazy.err, !Contains("warning"));  // the teachers' dataset is this one
  CHECK(storage::read_set(workspace.path("lazy.h5"))
            .images.equal(storage::read_set(workspace.path("whole.h5")).images));
  const auto identity = [&](const std::string& file) {
    return storage::TeacherReader(workspace.path(file)).teacher(0).sha256();
  };
  CHECK(identity("lazy-t.h5") == identity("teachers.h5"));
}

TEST_CASE("photographs of 224 pixels go from a ResNet-18 to mosaics, images, labels and students",
          "[apps][photographs][slow]") {
  const Workspace workspace;
  const std::string net = "ResNet-18-224";
  const Words data = with_teachers(workspace, net, "224",
                                   {"--recipe", "adam", "--batch-size", "4", "--epochs", "4"});
  make_mosaics(workspace, net, "224", data);
  std::filesystem::remove_all(workspace.path("run"));
  workspace.succeed(joined(recover(data), {"--run-dir", "run"}));
  checked_set(workspace, net, "224");
  workspace.succeed({"relabel", "run/set.h5", "--teachers", "teachers.h5", "--epochs", "2",
                     "--batch-size", "3", "--out", "labelled.h5"});
  const auto judged =
      workspace.succeed({"evaluate", "labelled.h5", "--protocol", "fkd-300", "--protocol-set",
                         "epochs=2,batch-size=3", "--runs", "1", "--nets", net, "--json"});
  const auto document = nlohmann::json::parse(judged.out);
  CHECK(document["sgd_steps"] == 4);
  CHECK(document["results"][0]["accuracy"]["runs"].size() == 1);
}
