// From a folder of one's own pictures to a judged, drawn and exported set, and where data is found.
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "apps/commands/dataset_options.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/rng.h"
#include "lib/storage/set_file.h"
#include "lib/vision/vision.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

// 20x12 pixels, all (200, 30, 60), lossless WebP, made by Pillow.
constexpr std::string_view kWebp{
    "RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0"
    "\x2f\x13\xc0\x02\0\x07\x50\x8f\x22\x97\xa7\xff\x81\x88\xe8\x7f\0\0",
    38};

/// Colour pictures, 12 high and 20 wide: nine of "bird", dark, and five of "cat", bright, one of
/// these a WebP.
void write_pictures(const fs::path& root) {
  Rng rng(3);
  const auto write = [&](const fs::path& path, double low) {
    fs::create_directories(path.parent_path());
    vision::write_image(path, rng.uniform_tensor({3, 12, 20}, low, low + 100).to(at::kByte));
  };
  for (const char* name :
       {"1.png", "2.png", "3.png", "4.png", "5.png", "6.jpg", "7.jpg", "8.bmp", "9.bmp"}) {
    write(root / "bird" / name, 0);
  }
  for (const char* name : {"1.png", "2.png", "3.jpg", "4.bmp"}) write(root / "cat" / name, 150);
  write_text(root / "cat" / "5.webp", kWebp);
}

/// Both splits: two gray ones of "a" and of "b" each.
void write_plain_pictures(const fs::path& root, int darkest) {
  for (const char* split : {"train", "test"}) {
    for (const char* name : {"a", "b"}) {
      const fs::path folder = root / split / name;
      fs::create_directories(folder);
      vision::write_image(folder / "0.png", at::full({1, 16, 16}, darkest, at::kByte));
      vision::write_image(folder / "1.png", at::full({1, 16, 16}, 99, at::kByte));
    }
  }
}

/// Distribution matching of 2x2 canvases for three iterations.
void condense(const Workspace& workspace, const std::string& run, const Words& more) {
  workspace.succeed(joined({"condense", "--method", "dm", "--dataset", "folder", "--data",
                            "pictures", "--ipc", "1", "--factor", "2", "--net", "ConvNet-2-w8",
                            "--threads", "1", "--iterations", "3", "--run-dir", run},
                           more));
}

/// `--json` of an evaluation with one small network.
nlohmann::json evaluate(const Workspace& workspace, const std::string& set) {
  const auto result = workspace.succeed({"evaluate", set, "--protocol", tiny_protocol(workspace),
                                         "--runs", "1", "--threads", "1", "--json"});
  return nlohmann::json::parse(result.out);
}

/// Exports the set as pictures and expects four of this size in the folders of both classes.
void check_exported(const Workspace& workspace, const std::string& set, const std::string& folder,
                    std::int64_t height, std::int64_t width) {
  const auto result = workspace.succeed({"export", set, "--format", "png", "--out", folder});
  CHECK(result.out == folder + ": 8 decoded images\n");
  for (const char* name : {"000-bird", "001-cat"}) {
    std::int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(workspace.path(folder) / name)) {
      INFO(entry.path());
      CHECK(vision::read_image(entry.path()).sizes() == at::IntArrayRef{3, height, width});
      ++count;
    }
    CHECK(count == 4);
  }
}

}  // namespace

TEST_CASE("own pictures that are not square are condensed, judged, drawn and exported",
          "[apps][own-data]") {
  const Workspace workspace;
  write_pictures(workspace.path("pictures"));
  condense(workspace, "run", {});
  const data::SyntheticSet set = storage::read_set(workspace.path("run/set.h5"));
  CHECK(set.images.sizes() == at::IntArrayRef{2, 3, 12, 20});
  CHECK(set.images.isfinite().all().item<bool>());
  CHECK(data::hard_classes(set.labels).equal(at::arange(2).repeat_interleave(4)));
  CHECK(set.provenance.class_names == Words{"bird", "cat"});
  CHECK(set.provenance.data_path == workspace.path("pictures").string());
  const Tensor pixels = set.preprocessing.invert(set.images);
  CHECK(pixels[0].mean().item<double>() < pixels[1].mean().item<double>());

  const auto document = evaluate(workspace, "run/set.h5");
  CHECK(document["dataset"] == "folder");
  CHECK(document["decoded_images"] == 8);
  // Of every class a fifth is set aside for testing: two of nine and one of five.
  std::vector<std::int64_t> tested;
  for (const auto& row : document["results"][0]["confusion"]) {
    tested.push_back(row[0].get<std::int64_t>() + row[1].get<std::int64_t>());
  }
  CHECK(tested == std::vector<std::int64_t>{2, 1});

  workspace.succeed({"show", "run/set.h5", "--out", "grid.png", "--real", "2"});
  const Tensor grid = vision::read_image(workspace.path("grid.png"));
  // Threefold: 36 high and 60 wide. Canvases above, below them four decoded images a class; then an
  // empty column, and two real ones.
  CHECK(grid.size(1) >= 4 * 36);
  CHECK(grid.size(2) >= 7 * 60);
  check_exported(workspace, "run/set.h5", "out", 12, 20);
}

TEST_CASE("own pictures are made square when asked, and again for what is done with the set",
          "[apps][own-data]") {
  const Workspace workspace;
  write_pictures(workspace.path("pictures"));
  condense(workspace, "run", {"--image-size", "16"});
  CHECK(storage::read_set(workspace.path("run/set.h5")).images.sizes() ==
        at::IntArrayRef{2, 3, 16, 16});
  CHECK(evaluate(workspace, "run/set.h5")["decoded_images"] == 8);
  workspace.succeed({"show", "run/set.h5", "--out", "grid.png", "--real", "2"});
  check_exported(workspace, "run/set.h5", "out", 16, 16);
  const auto other = workspace.retort({"evaluate", "run/set.h5", "--image-size", "12"});
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("'folder' has images of 3x12x12, the set of 3x16x16"));
}

TEST_CASE("a dataset outside of $RETORT_DATA is still found where it usually is",
          "[apps][dataset]") {
  const TemporaryFolder folder("retort-data");
  setenv("RETORT_DATA", folder.path().c_str(), 1);
  // Nothing there and no usual place: the variable's own message.
  commands::DatasetOptions mnist;
  mnist.dataset = "mnist";
  CHECK_THROWS_WITH_TEXT(mnist.open(0), DataError, "looked for");
  if (fs::exists("/usr/share/datasets/fashion-mnist")) {
    commands::DatasetOptions packaged;
    packaged.dataset = "FashionMNIST";
    CHECK(packaged.open(0, commands::Statistics::None).info().name == "fashion-mnist");
    CHECK(packaged.data.empty());
    // What is named is not replaced.
    packaged.data = folder.path();
    CHECK_THROWS_WITH_TEXT(packaged.open(0), DataError, "looked for");
  }
  unsetenv("RETORT_DATA");
}

TEST_CASE("a relative path of the data is recorded so that it leads there from anywhere",
          "[apps][dataset]") {
  const Workspace workspace;
  fs::create_directories(workspace.path("work"));
  write_plain_pictures(workspace.path("pictures"), 9);
  const auto result = workspace.succeed({"condense", "--method", "random", "--dataset", "folder",
                                         "--data", "work/../pictures", "--run-dir", "run"});
  const std::string absolute = workspace.path("pictures").string();
  CHECK(storage::read_set(workspace.path("run/set.h5")).provenance.data_path == absolute);
  CHECK_THAT(read_text(workspace.path("run/config.cfg")), Contains("data = " + absolute + "\n"));
}

TEST_CASE("the dataset of a set from elsewhere is found in the usual place, if it is the same",
          "[apps][dataset]") {
  const Workspace workspace;
  write_plain_pictures(workspace.path("pictures"), 9);
  workspace.succeed({"condense", "--method", "random", "--dataset", "folder", "--data", "pictures",
                     "--ipc", "1", "--run-dir", "run"});
  const auto set = storage::read_set(workspace.path("run/set.h5"));
  const auto opened = [&] {
    commands::DatasetOptions options;
    config::OptionTable table;
    options.describe(table);
    return commands::open_for_set(options, table, set).size(data::Split::Train);
  };
  fs::rename(workspace.path("pictures"), workspace.path("moved"));
  CHECK_THROWS_WITH_TEXT(opened(), DataError, "does not exist");
  setenv("RETORT_DATA", workspace.path("moved").c_str(), 1);
  CHECK(opened() == 4);
  fs::remove_all(workspace.path("moved"));
  write_plain_pictures(workspace.path("moved"), 10);
  CHECK_THROWS_WITH_TEXT(opened(), DataError, "pictures', which is gone");
  unsetenv("RETORT_DATA");
}
