// export and import on a set of shapes.
#include "lib/storage/exchange.h"

#include <nlohmann/json.hpp>

#include "apps/commands/class_folder.h"
#include "lib/core/files.h"
#include "lib/core/rng.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "lib/vision/vision.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TEST_CASE("what is exported to a .pt file is imported as the same set", "[apps][exchange]") {
  const Workspace& workspace = condensed_shapes();
  REQUIRE(workspace.retort({"export", "set.h5", "--format", "pt", "--out", "set.pt"}).exit_code ==
          0);
  const auto result =
      workspace.succeed({"import", "set.pt", "--dataset", "shapes", "--out", "imported.h5"});
  const auto before = storage::read_set(workspace.path("set.h5"));
  const auto after = storage::read_set(workspace.path("imported.h5"));
  CHECK(at::equal(before.images, after.images));
  CHECK(at::equal(data::hard_classes(before.labels), data::hard_classes(after.labels)));
  CHECK(after.provenance.dataset_sha256 == before.provenance.dataset_sha256);
  CHECK(workspace.retort({"export", "set.h5", "--format", "npz", "--out", "set.npz"}).exit_code ==
        0);
  CHECK(fs::file_size(workspace.path("set.npz")) > 8 * 16 * 16 * 4);
}

TEST_CASE("a packed set is exported decoded, or as stored when asked", "[apps][exchange]") {
  const Workspace workspace;
  REQUIRE(workspace
              .retort({"condense", "--method", "random", "--factor", "2", "--ipc", "2", "--dataset",
                       "shapes", "--run-dir", "run", "--out", "packed.h5"})
              .exit_code == 0);
  const data::SyntheticSet set = storage::read_set(workspace.path("packed.h5"));
  const data::LabelledImages decoded = synth::decode(set);
  REQUIRE(set.images.size(0) == 8);
  REQUIRE(decoded.images.size(0) == 32);
  const auto exported = [&](const Words& more, const std::string& report) {
    const auto result =
        workspace.succeed(joined({"export", "packed.h5", "--out", "packed.pt"}, more));
    CHECK(result.out == "packed.pt: " + report + "\n");
    return storage::read_pt(workspace.path("packed.pt"));
  };
  const auto trained_on = exported({}, "32 decoded images");
  CHECK(at::equal(trained_on.at("images"), decoded.images));
  CHECK(at::equal(trained_on.at("labels"), data::hard_classes(decoded.labels)));
  // The upper left quarter of the first canvas, enlarged, in preprocessed space.
  const Tensor quarter = set.images.narrow(0, 0, 1).narrow(2, 0, 8).narrow(3, 0, 8);
  CHECK_CLOSE(trained_on.at("images")[0], at::upsample_bilinear2d(quarter, {16, 16}, false)[0],
              1e-6);
  CHECK(trained_on.at("images").min().item<float>() < 0);
  const auto stored = exported({"--stored"}, "8 stored images");
  CHECK(at::equal(stored.at("images"), set.images));
  CHECK(at::equal(stored.at("labels"), set.class_index));
}

TEST_CASE("pictures come back within half a gray level", "[apps][exchange]") {
  const Workspace& workspace = condensed_shapes();
  REQUIRE(
      workspace.retort({"export", "set.h5", "--format", "png", "--out", "pictures"}).exit_code ==
      0);
  const auto again = workspace.retort({"export", "set.h5", "--format", "png", "--out", "pictures"});
  CHECK(again.exit_code == 2);
  CHECK_THAT(again.err, Contains("'pictures' exists and is not empty"));
  REQUIRE(workspace.retort({"import", "pictures", "--dataset", "shapes", "--out", "from.h5"})
              .exit_code == 0);
  const auto before = storage::read_set(workspace.path("set.h5"));
  const auto after = storage::read_set(workspace.path("from.h5"));
  // Real images hold whole gray levels, so nothing is lost.
  CHECK_CLOSE(after.images, before.images, 1e-5);
  const std::string first = "000-" + before.provenance.class_names[0];
  fs::rename(workspace.path("pictures/" + first), workspace.path("pictures/unheard-of"));
  const auto wrong = workspace.retort({"import", "pictures", "--dataset", "shapes"});
  CHECK(wrong.exit_code == 1);
  CHECK_THAT(wrong.err, Contains("folder 'unheard-of' is no class of dataset 'shapes'"));
}

TEST_CASE("tensors of other programs are imported by layout and checked", "[apps][exchange]") {
  const Workspace& workspace = condensed_shapes();
  const Tensor images = at::rand({4, 1, 16, 16});
  const Tensor classes = at::tensor({3, 0, 2, 1}, at::kLong);
  // The layout of trajectory matching: two files, soft labels in the second.
  storage::write_pt(workspace.path("images.pt"), {{"images", images}});
  const Tensor soft = at::rand({4, 4}).scatter(1, classes.unsqueeze(1), 5.0);
  storage::write_pt(workspace.path("labels.pt"), {{"labels", soft}});
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "import");
    words.insert(words.end(), {"--dataset", "shapes", "--out", "other.h5"});
    return workspace.retort(words);
  };
  REQUIRE(run({"images.pt", "--labels", "labels.pt"}).exit_code == 0);
  const auto set = storage::read_set(workspace.path("other.h5"));
  CHECK(at::equal(set.class_index, at::arange(4)));
  CHECK(at::equal(set.images[3], images[0]));
  REQUIRE(std::holds_alternative<data::SoftLabels>(set.labels));
  CHECK(at::equal(std::get<data::SoftLabels>(set.labels).values[3], soft[0]));

  const auto check = [&](const Words& words, int code, const std::string& text) {
    const auto result = run(words);
    INFO(result.err);
    CHECK(result.exit_code == code);
    CHECK_THAT(result.err, Contains(text));
  };
  check({"images.pt"}, 2, "give --labels FILE");
  check({"nothing.pt"}, 2, "there is no 'nothing.pt'");
  check({"images.pt", "--labels", "labels.pt", "--mean", "0.5"}, 2, "give both --mean and --std");
  check({"images.pt", "--labels", "labels.pt", "--mean", "0.5,0.5", "--std", "1"}, 2,
        "option 'mean': expected 1 numbers, found 2");
  storage::write_pt(workspace.path("wide.pt"), {{"images", at::rand({4, 1, 16, 20})}});
  check({"wide.pt", "--labels", "labels.pt"}, 1, "expected images [*, 1, 16, 16]");
  storage::write_pt(workspace.path("high.pt"), {{"labels", classes + 1}});
  check({"images.pt", "--labels", "high.pt"}, 1, "expected labels in 0 .. 3, found 4");
  storage::write_pt(workspace.path("short.pt"), {{"labels", classes.slice(0, 0, 3)}});
  check({"images.pt", "--labels", "short.pt"}, 1, "expected labels [4]");
  storage::write_pt(workspace.path("other.pt"), {{"x", images}, {"y", classes}});
  check({"other.pt"}, 1, "found x, y");
  const auto with = [&](const std::vector<std::pair<std::string, Tensor>>& more) {
    std::vector<std::pair<std::string, Tensor>> tensors = {{"images", images}, {"labels", classes}};
    tensors.insert(tensors.end(), more.begin(), more.end());
    storage::write_pt(workspace.path("more.pt"), tensors);
  };
  with({{"lr", at::tensor(-0.5, at::kDouble)}});
  check({"more.pt"}, 1, "expected 'lr' to be one positive number, found -0.5");
  with({{"mean", at::tensor({0.5})}, {"std", at::tensor({0.0})}});
  check({"more.pt"}, 1, "'more.pt'");
  with({{"mean", at::tensor({0.5})}, {"std", at::tensor({0.5})}});
  check({"more.pt", "--zca"}, 2, "--zca=true does not fit 'more.pt'");
  with({{"zca_mean", at::zeros({256}, at::kDouble)}, {"zca_eps", at::tensor({0.1})}});
  check({"more.pt"}, 1, "expected 'zca_whiten' beside 'zca_mean', found none");
  with({{"zca_mean", at::zeros({9}, at::kDouble)}, {"zca_eps", at::tensor({0.1})}});
  check({"more.pt"}, 1, "expected 'zca_mean' of finite numbers [256], found [9]");
}

TEST_CASE("one of the sets in a result file of DC is imported by its number", "[apps][exchange]") {
  const Workspace workspace;
  // A dataset that the images of the file fit: two classes of 1x3x3.
  for (const char* split : {"train", "test"}) {
    for (const char* name : {"a", "b"}) {
      fs::create_directories(workspace.path("gray") / split / name);
      vision::write_image(workspace.path("gray") / split / name / "0.png",
                          at::full({1, 3, 3}, int(*name), at::kByte));
    }
  }
  const std::string file = (fs::path(RETORT_TEST_DATA) / "storage" / "dc.pt").string();
  const auto run = [&](const Words& more) {
    return workspace.retort(
        joined({"import", file, "--dataset", "folder", "--data", "gray", "--out", "set.h5"}, more));
  };
  // What tests/data/storage/make_pt_fixtures.py wrote.
  const Tensor first = at::arange(18, at::kFloat).reshape({2, 1, 3, 3}) / 4;
  const auto check = [&](const Words& more, const Tensor& images) {
    const auto result = run(more);
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    const data::SyntheticSet set = storage::read_set(workspace.path("set.h5"));
    CHECK(at::equal(set.images, images));
    CHECK(at::equal(set.class_index, at::arange(2)));
    CHECK(at::equal(data::hard_classes(set.labels), at::arange(2)));
    CHECK(set.provenance.class_names == std::vector<std::string>{"a", "b"});
  };
  check({}, first);
  check({"--entry", "0"}, first);
  check({"--entry", "1"}, first + 1);
  const auto missing = run({"--entry", "2"});
  CHECK(missing.exit_code == 1);
  CHECK_THAT(missing.err, Contains("'data/2/0', found data/0/0, data/0/1, data/1/0, data/1/1"));
}

TEST_CASE("imported values in [0,1] are preprocessed, others are taken as they are",
          "[apps][exchange]") {
  const Workspace& workspace = condensed_shapes();
  const Tensor values = Rng(7).uniform_tensor({4, 1, 16, 16});
  storage::write_pt(workspace.path("unit.pt"),
                    {{"images", values}, {"labels", at::arange(4, at::kLong)}});
  const auto imported = [&](const Words& more) {
    const auto result = workspace.succeed(
        joined({"import", "unit.pt", "--dataset", "shapes", "--out", "unit.h5"}, more));
    return storage::read_set(workspace.path("unit.h5"));
  };
  CHECK(at::equal(imported({}).images, values));
  const data::SyntheticSet unit = imported({"--values", "unit"});
  const data::SyntheticSet shapes = storage::read_set(workspace.path("set.h5"));
  const double mean = shapes.preprocessing.mean().at(0);
  const double spread = shapes.preprocessing.std().at(0);
  CHECK(unit.preprocessing.mean() == shapes.preprocessing.mean());
  CHECK(unit.preprocessing.std() == shapes.preprocessing.std());
  CHECK_CLOSE(unit.images, (values - mean) / spread, 1e-6);
  const data::SyntheticSet own = imported({"--values", "unit", "--mean", "0.5", "--std", "0.25"});
  CHECK(own.preprocessing.mean() == std::vector<double>{0.5});
  CHECK(own.preprocessing.std() == std::vector<double>{0.25});
  CHECK_CLOSE(own.images, (values - 0.5) / 0.25, 1e-6);
}

TEST_CASE("whitening and a learned step size survive export and import", "[apps][exchange]") {
  const Workspace workspace;
  const auto made = workspace.succeed({"condense", "--method", "random", "--dataset", "shapes",
                                       "--zca", "--run-dir", "run", "--out", "zca.h5"});
  auto before = storage::read_set(workspace.path("zca.h5"));
  before.learned_lr = 0.0375;
  storage::write_set(workspace.path("zca.h5"), before);
  REQUIRE(workspace.retort({"export", "zca.h5", "--out", "zca.pt"}).exit_code == 0);
  const auto imported =
      workspace.succeed({"import", "zca.pt", "--dataset", "shapes", "--out", "again.h5"});
  const auto after = storage::read_set(workspace.path("again.h5"));
  REQUIRE(after.preprocessing.kind() == data::Preprocessing::Kind::Zca);
  const data::ZcaMatrices& theirs = before.preprocessing.zca_matrices();
  const data::ZcaMatrices& ours = after.preprocessing.zca_matrices();
  CHECK(ours.eps == theirs.eps);
  CHECK(at::equal(ours.mean, theirs.mean));
  CHECK(at::equal(ours.whiten, theirs.whiten));
  CHECK(at::equal(ours.inverse, theirs.inverse));
  CHECK(after.learned_lr == 0.0375);

  const auto judged = workspace.retort(
      {"evaluate", "again.h5", "--protocol", tiny_protocol(workspace), "--runs", "1"});
  INFO(judged.err);
  CHECK(judged.exit_code == 0);
  CHECK_THAT(judged.err, Contains("warning: the set has learned a step size, 0.0375"));
  const std::string own = workspace.path("own.cfg").string();
  write_text(own, read_text(tiny_protocol(workspace)) + "step-size = learned\n");
  const auto at_its_own = workspace.succeed({"evaluate", "again.h5", "--protocol", own, "--runs",
                                             "1", "--json", "--baselines", "random"});
  CHECK(at_its_own.err.find("warning") == std::string::npos);
  const auto document = nlohmann::json::parse(at_its_own.out);
  CHECK(document["lr"] == 0.0375);
  CHECK(document["baselines"][0]["lr"] == 0.01);
  const auto refused = workspace.retort({"evaluate", "zca.h5", "--zca=false"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("--zca=false does not fit the set") && Contains("zca eps 0.1"));
}

TEST_CASE("an output never overwrites the set it is made from", "[apps][exchange]") {
  const Workspace workspace;
  fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
  const std::string before = read_text(workspace.path("set.h5"));
  const std::vector<std::vector<std::string>> commands{
      {"export", "set.h5", "--format", "npz", "--out", "set.h5"},
      {"show", "set.h5", "--out", "./set.h5"},
      {"evaluate", "set.h5", "--protocol", tiny_protocol(workspace), "--out", "set.h5"}};
  for (const auto& command : commands) {
    INFO(command.front());
    const ProcessResult result = workspace.retort(command);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains("is the file that is read"));
    CHECK(read_text(workspace.path("set.h5")) == before);
  }
}

TEST_CASE("an output replaces only its like, or with --force", "[apps][exchange]") {
  const Workspace workspace;
  fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
  const std::string protocol = tiny_protocol(workspace);
  const std::vector<std::pair<std::vector<std::string>, std::string>> commands{
      {{"show", "set.h5"}, "picture"},
      {{"export", "set.h5", "--format", "pt"}, "PyTorch file"},
      {{"export", "set.h5", "--format", "npz"}, "NumPy archive"},
      {{"evaluate", "set.h5", "--protocol", protocol, "--runs", "1"}, "result of an evaluation"},
      {{"import", "again.pt", "--dataset", "shapes"}, "set file"},
      {{"condense", "--method", "random", "--dataset", "shapes"}, "set file"}};
  REQUIRE(workspace.retort({"export", "set.h5", "--out", "again.pt"}).exit_code == 0);
  for (const auto& [command, kind] : commands) {
    INFO(command.front() << ", " << kind);
    const std::string name = kind == "picture" ? "out.png" : "out";
    const auto run = [&](const Words& more) {
      std::vector<std::string> words = command;
      words.insert(words.end(), {"--out", name});
      words.insert(words.end(), more.begin(), more.end());
      return workspace.retort(words);
    };
    write_text(workspace.path(name), "a thesis");
    const ProcessResult refused = run({});
    INFO(refused.err);
    CHECK(refused.exit_code == 2);
    CHECK_THAT(refused.err,
               Contains("'" + name + "' exists and is no " + kind) && Contains("--force"));
    CHECK(read_text(workspace.path(name)) == "a thesis");
    CHECK(run({"--force"}).exit_code == 0);
    CHECK(run({}).exit_code == 0);  // its own result of before
    fs::remove(workspace.path(name));
  }
  CHECK_FALSE(fs::exists(workspace.path("runs/random-shapes-ipc1-seed0-3")));
}

TEST_CASE("export takes its format from the ending and refuses a contradiction",
          "[apps][exchange]") {
  const Workspace& workspace = condensed_shapes();
  const auto check = [&](const Words& more, const std::string& text) {
    const ProcessResult result = workspace.retort(joined({"export", "set.h5"}, more));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
  };
  const auto made = workspace.succeed({"export", "set.h5", "--out", "ending.npz", "--json"});
  CHECK(nlohmann::json::parse(made.out)["format"] == "npz");
  CHECK(workspace.retort({"export", "set.h5", "--out", "ending.pth"}).exit_code == 0);
  check({"--out", "ending"}, "the ending of 'ending' says no format");
  check({"--out", "ending.h5"}, "give --format pt, npz or png");
  check({"--out", "x.pt", "--format", "npz"}, "npz contradicts the ending of 'x.pt'");
  check({"--out", "x.npz", "--format", "png"}, "which is that of npz");
  check({"--out", "x.png", "--format", "png"}, "'x.png' names one picture");
  check({"--out", "set.h5", "--format", "png"}, "is the file that is read");
  check({"--out", "run/config.cfg", "--format", "png"}, "is a file, png writes a folder");
}

TEST_CASE("import refuses classes without images and options without meaning", "[apps][exchange]") {
  const Workspace& workspace = condensed_shapes();
  REQUIRE(workspace.retort({"export", "set.h5", "--format", "png", "--out", "partial"}).exit_code ==
          0);
  const auto check = [&](std::vector<std::string> words, int code, const std::string& text) {
    words.insert(words.begin(), "import");
    words.insert(words.end(), {"--dataset", "shapes", "--out", "partial.h5"});
    const ProcessResult result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == code);
    CHECK_THAT(result.err, Contains(text));
    CHECK_FALSE(fs::exists(workspace.path("partial.h5")));
  };
  for (const char* option : {"--labels", "--entry", "--values", "--mean", "--std"}) {
    const std::string value = std::string(option) == "--values" ? "unit" : "1";
    check({"partial", option, value}, 2,
          std::string(option) + " means nothing for 'partial', a folder of pictures");
  }
  check({"partial", "--soft-labels", "logit"}, 2, "--soft-labels means nothing");
  fs::remove_all(workspace.path("partial") /
                 ("000-" + storage::read_set(workspace.path("set.h5")).provenance.class_names[0]));
  check({"partial"}, 1,
        "found none of '" + storage::read_set(workspace.path("set.h5")).provenance.class_names[0] +
            "' (1 of 4 classes without images)");
  storage::write_pt(workspace.path("hard.pt"),
                    {{"images", at::rand({4, 1, 16, 16})}, {"labels", at::arange(4, at::kLong)}});
  check({"hard.pt", "--entry", "1"}, 2, "--entry means nothing for 'hard.pt', which holds one set");
  check({"hard.pt", "--soft-labels", "probability"}, 2, "whose labels are one class per image");
}

TEST_CASE("class names cannot leave the folder of exported pictures", "[apps][exchange]") {
  using commands::class_folder;
  const std::vector<std::string> names = {
      "..", "T-shirt/top", "T-shirt_top", "../../etc",
      "",   "caf\xc3\xa9", "a\nb. ",      std::string(300, 'x')};
  CHECK(class_folder(names, 0) == "000");
  CHECK(class_folder(names, 1) == "001-T-shirt_top");
  CHECK(class_folder(names, 2) == "002-T-shirt_top");
  CHECK(class_folder(names, 3) == "003-.._.._etc");
  CHECK(class_folder(names, 4) == "004");
  CHECK(class_folder(names, 5) == "005-caf\xc3\xa9");
  CHECK(class_folder(names, 6) == "006-a_b");
  CHECK(class_folder(names, 7).size() == 104);
  CHECK(class_folder(names, 1234) == "1234");
  const Workspace& workspace = condensed_shapes();
  data::SyntheticSet set = storage::read_set(workspace.path("set.h5"));
  set.provenance.class_names = {"..", "same", "same", "../up"};
  storage::write_set(workspace.path("odd.h5"), set);
  REQUIRE(workspace.retort({"export", "odd.h5", "--format", "png", "--out", "odd"}).exit_code == 0);
  for (const char* folder : {"000", "001-same", "002-same", "003-.._up"}) {
    CHECK(fs::exists(workspace.path("odd") / folder / "00001.png"));
  }
}
