#include "tests/apps/program.h"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "datasets/dataset.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "lib/storage/expert_file.h"
#include "lib/vision/vision.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;

namespace {

storage::SnapshotLog expert_log(double number, double snapshot) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return {.train_loss = snapshot > 0 ? 1.5 / snapshot : nan,
          .train_accuracy = snapshot > 0 ? 50 : nan,
          .test_loss = nan,
          .test_accuracy = 20 * number + 30 * snapshot,
          .norm = 4 + number + snapshot,
          .step_norm = 0.25 * snapshot,
          .wall_seconds = 2 * snapshot};
}

/// An expert of two epochs on a network of six parameters, with its first snapshots.
storage::ExpertPart expert_part(std::int64_t number, std::int64_t snapshots) {
  storage::ExpertPart part;
  part.info.recipe = "sgd";
  part.info.dataset = "shapes";
  part.info.dataset_sha256 = std::string(64, 'd');
  part.info.dataset_note = "20 training images per class";
  part.info.class_names = {"disk", "square"};
  part.info.image = {.channels = 1, .height = 2, .width = 2};
  part.info.train_images = 40;
  part.info.network = "ConvNet-1";
  part.info.layout = {{"features.0.weight", {2, 1, 1, 2}}, {"features.0.bias", {2}}};
  part.info.epochs = {0, 1, 2};
  part.info.options = "epochs = 2\nlr = 0.01\n";
  part.number = number;
  part.seeds.init = std::numeric_limits<std::uint64_t>::max() - 1 + std::uint64_t(number);
  part.complete = snapshots == 3;
  for (std::int64_t s = 0; s < snapshots; ++s) {
    part.snapshots.push_back(at::arange(6, at::kFloat).add(double(10 * number + s)).div(7));
    part.log.push_back(expert_log(double(number), double(s)));
  }
  return part;
}

}  // namespace

TEST_CASE("the program says what it is and what it can do", "[apps]") {
  const Workspace workspace;
  const auto version = workspace.retort({"--version"});
  CHECK(version.exit_code == 0);
  CHECK_THAT(version.out, Catch::Matchers::StartsWith("retort 0."));
  const auto help = workspace.retort({"--help"});
  CHECK(help.exit_code == 0);
  for (const char* name :
       {"condense", "evaluate", "experts", "teachers", "relabel", "sweep", "continual", "nas",
        "show", "report", "info", "verify", "list", "export", "import"}) {
    CHECK_THAT(help.out, Contains(name));
    const auto page = workspace.retort({name, "--help"});
    CHECK(page.exit_code == 0);
    CHECK(page.err.empty());
    CHECK_THAT(page.out, Contains(std::string("Usage: retort ") + name) && Contains("Example"));
  }
}

TEST_CASE("the real program keeps results on stdout, the rest on stderr, and its exit codes",
          "[apps]") {
  const Workspace workspace;
  const auto good =
      workspace.start({"condense", "--method", "random", "--dataset", "shapes"}).wait();
  CHECK(good.exit_code == 0);
  CHECK_THAT(good.out, Catch::Matchers::StartsWith("set "));
  CHECK_THAT(good.err, Catch::Matchers::StartsWith("condensing shapes with random"));
  const auto wrong = workspace.start({"condens"}).wait();
  CHECK(wrong.exit_code == 2);
  CHECK(wrong.out.empty());
  CHECK_THAT(wrong.err, Catch::Matchers::StartsWith("error: unknown command"));
  const auto missing = workspace.start({"info", "missing.h5"}).wait();
  CHECK(missing.exit_code == 1);
  CHECK_THAT(missing.err, Contains("missing.h5"));
}

TEST_CASE("a wrong command line ends with code 2 and a suggestion", "[apps]") {
  const Workspace workspace;
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(text));
  };
  check({}, "which command?");
  check({"condens"}, "unknown command 'condens'; did you mean 'condense'?");
  check({"list", "method"}, "unknown list 'method'; did you mean 'methods'?");
  check({"list"},
        "KIND is missing; usage: retort list (methods | datasets | networks | pools | protocols | "
        "presets | parametrizations); for example: retort list methods");
  check({"list", "methods", "--times"}, "option 'times' is for `retort list presets`");
  check({"show"}, "SET|RUN is missing");
  check({"evaluate", "set.h5", "--runs", "2", "--seeds", "1"}, "not both");
  check({"evaluate", "set.h5", "--seeds", "1,2,1"}, "each may be named once, found 1, 2, 1");
  check({"evaluate", "set.h5", "--baseline-seed", "1"}, "set baselines as well");
  check({"condense", "--method", "dm", "--dataset", "shapes", "--ipc", "1", "--bandwidth", "2"},
        "'bandwidth' changes nothing while discrepancy is mean");
  check({"evaluate", "set.h5", "--protocol", "dsaa"}, "dsa");
  check({"evaluate", "set.h5", "--baselines", "randm"}, "did you mean 'random'?");
  check({"evaluate", "set.h5", "--baselines", "random,k-means,random"},
        "each may be named once, found random, k-means, random");
  check({"condense", "--resume", "--run-dir", "none"}, "there is no run in 'none' to go on with");
  check({"export", "set.h5"}, "give --out");
  check({"export", "set.h5", "--format", "jpg", "--out", "x"}, "pt | npz | png");
}

TEST_CASE("more threads than processors are warned of", "[apps]") {
  const Workspace workspace;
  const auto result = workspace.succeed({"condense", "--method", "random", "--dataset", "shapes",
                                         "--threads", "1024", "--run-dir", "run"});
  CHECK_THAT(result.err, Contains("warning: --threads 1024: there are "));
}

TEST_CASE("a bad file ends with code 1 and its name", "[apps]") {
  const Workspace workspace;
  write_text(workspace.path("text.h5"), "this is no HDF5 file");
  for (const char* command : {"info", "verify", "show", "evaluate"}) {
    for (const char* file : {"text.h5", "missing.h5"}) {
      INFO(command << " " << file);
      const auto result = workspace.retort({command, file});
      CHECK(result.exit_code == 1);
      CHECK_THAT(result.err, Contains(file));
    }
  }
}

TEST_CASE("every list has a line for what the tests rely on", "[apps]") {
  const Workspace workspace;
  const auto list = [&](const std::string& kind) {
    const auto result = workspace.retort({"list", kind});
    CHECK(result.exit_code == 0);
    return result.out;
  };
  CHECK_THAT(list("methods"), Contains("random ") && Contains("dm ") && Contains("k-means "));
  CHECK_THAT(list("datasets"), Contains("shapes ") && Contains("fashion-mnist "));
  CHECK_THAT(list("networks"), Contains("ConvNet") && Contains("ResNet-18"));
  CHECK_THAT(list("pools"), Contains("mtt ") && Contains("ResNet-18-AP"));
  CHECK_THAT(list("protocols"), Contains("dsa-300 ") && Contains("quick "));
  CHECK_THAT(list("presets"),
             Contains("dm/cifar10-ipc10 ") && Contains("WACV 2023") && !Contains("about "));
  CHECK_THAT(list("parametrizations"), Contains("pixels") && Contains("multi-formation"));

  const auto some = workspace.retort({"list", "presets", "--match", "MTT/"});
  CHECK_THAT(some.out, Contains("mtt/cifar10-ipc10") && !Contains("dm/cifar10-ipc10"));
  CHECK(workspace.retort({"list", "methods", "--match", "nothing has this"}).out.empty());
}

TEST_CASE("presets are listed with predicted times on request", "[apps]") {
  const Workspace workspace;
  const auto seconds_of_all = [&](const Words& words) {
    const auto result = workspace.succeed(words);
    std::vector<nlohmann::json> seconds;
    for (const auto& entry : nlohmann::json::parse(result.out)["entries"]) {
      seconds.push_back(entry.at("predicted_seconds"));
    }
    return seconds;
  };
  for (const auto& seconds : seconds_of_all({"list", "presets", "--json"})) {
    CHECK(seconds.is_null());
  }
  for (const auto& seconds : seconds_of_all({"list", "presets", "--times", "--json"})) {
    CHECK((seconds.is_null() || seconds.get<double>() > 0));
  }
  CHECK_THAT(workspace.retort({"list", "presets", "--times"}).out, Contains("  about "));
}

TEST_CASE("a set is explained and verified, and damage is found", "[apps]") {
  const Workspace& workspace = condensed_shapes();
  const auto info = workspace.retort({"info", "set.h5"});
  CHECK(info.exit_code == 0);
  CHECK_THAT(info.out, Contains("8 of 1x16x16, 2 per class, 4 classes") &&
                           Contains("one class per training image") && Contains("random") &&
                           Contains("shapes, SHA-256") && Contains("ipc = 2"));
  CHECK(workspace.retort({"verify", "set.h5"}).exit_code == 0);
  std::string bytes = read_text(workspace.path("set.h5"));
  const std::size_t at = bytes.find("ipc = 2");
  REQUIRE(at != std::string::npos);
  bytes[at + 6] = '3';
  write_text(workspace.path("damaged.h5"), bytes);
  const auto damaged = workspace.retort({"verify", "damaged.h5"});
  CHECK(damaged.exit_code == 1);
  CHECK_THAT(damaged.err, Contains("damaged.h5"));

  const auto remains = workspace.retort({"info", "damaged.h5"});
  CHECK(remains.exit_code == 1);
  CHECK_THAT(remains.err, Contains("'damaged.h5': 'provenance/config': "));
  CHECK_THAT(remains.out, Contains("damaged.h5, damaged\n") &&
                              Contains("damaged  'damaged.h5': 'provenance/config': ") &&
                              Contains("intact   /images/data [8, 1, 16, 16]\n") &&
                              !Contains("intact   /provenance/config"));
  const auto json = workspace.retort({"info", "damaged.h5", "--json"});
  CHECK(json.exit_code == 1);
  const auto document = nlohmann::json::parse(json.out);
  CHECK(document["schema"] == "retort.damage/1");
  CHECK(document["findings"].size() == 1);
  CHECK(std::any_of(document["intact"].begin(), document["intact"].end(), [](const auto& part) {
    return part["name"] == "labels/hard" && part["shape"] == nlohmann::json({8});
  }));

  write_text(workspace.path("half.h5"), bytes.substr(0, bytes.size() / 2));
  const auto half = workspace.retort({"info", "half.h5"});
  CHECK(half.exit_code == 1);
  CHECK_THAT(half.err, Contains("'half.h5'"));
}

TEST_CASE("expert trajectories are explained with how training went, and verified", "[apps]") {
  const Workspace workspace;
  for (const std::int64_t number : {0, 1}) {
    storage::write_part(workspace.path(str("expert-", number, ".h5")), expert_part(number, 3));
  }
  storage::merge_experts(workspace.path("experts.h5"), std::nullopt,
                         {workspace.path("expert-0.h5"), workspace.path("expert-1.h5")});
  const auto info = workspace.succeed({"info", "experts.h5"});
  CHECK_THAT(
      info.out,
      Contains("experts.h5, 2 expert trajectories\n") && Contains("recipe         sgd\n") &&
          Contains("ConvNet-1, 6 parameters in 2 tensors\n") &&
          Contains("3 per expert, every epoch from 0 to 2\n") &&
          Contains("numbers stored as float32\n") && Contains("40 images of 1x2x2\n") &&
          Contains("20 training images per class\n") && Contains("training took  12 s\n") &&
          Contains("options\n  epochs = 2\n") &&
          Contains("id             " + storage::ExpertReader(workspace.path("experts.h5")).id()));
  CHECK_THAT(
      info.out,
      Contains("log, mean over 2 experts\n"
               "  epoch  train loss  train %  test loss  test %   norm  step norm  seconds\n"
               "      0           -        -          -   10.00  4.500      0.000      0.0\n"
               "      1      1.5000    50.00          -   40.00  5.500      0.250      2.0\n"
               "      2      0.7500    50.00          -   70.00  6.500      0.500      4.0\n"));
  const auto verified = workspace.succeed({"verify", "experts.h5"});
  CHECK_THAT(verified.out, Contains("experts.h5: every part agrees with its SHA-256"));

  const auto json = workspace.succeed({"info", "experts.h5", "--json"});
  const auto document = nlohmann::json::parse(json.out);
  CHECK(document["schema"] == "retort.experts-info/1");
  CHECK(document["part"].is_null());
  CHECK(document["parameters"] == 6);
  CHECK(document["epochs"] == nlohmann::json({0, 1, 2}));
  CHECK(document["wall_seconds"] == 12.0);
  REQUIRE(document["experts"].size() == 2);
  CHECK(document["experts"][1]["init_seed"] == std::numeric_limits<std::uint64_t>::max());
  CHECK(document["experts"][1]["complete"] == true);
  REQUIRE(document["log"].size() == 3);
  CHECK(document["log"][0]["train_loss"].is_null());
  CHECK(document["log"][1]["train_loss"] == 1.5);
  CHECK(document["log"][2]["epoch"] == 2);
}

TEST_CASE("a part of an expert in training is explained, and damage is named", "[apps]") {
  const Workspace workspace;
  storage::write_part(workspace.path("part.h5"), expert_part(1, 2));
  const auto info = workspace.succeed({"info", "part.h5"});
  CHECK_THAT(info.out, Contains("part.h5, expert 1 of a run, still running: 2 of 3 snapshots\n") &&
                           Contains("log\n") && Contains("\n      1  ") &&
                           !Contains("\n      2  "));
  CHECK(nlohmann::json::parse(workspace.succeed({"info", "part.h5", "--json"}).out)["part"] == 1);
  CHECK(workspace.retort({"verify", "part.h5"}).exit_code == 0);

  std::string bytes = read_text(workspace.path("part.h5"));
  const Tensor values = expert_part(1, 2).snapshots[1];
  const std::size_t at =
      bytes.find(std::string(static_cast<const char*>(values.const_data_ptr()), values.nbytes()));
  REQUIRE(at != std::string::npos);
  bytes[at] = char(bytes[at] ^ 1);
  write_text(workspace.path("part.h5"), bytes);
  const auto damaged = workspace.retort({"verify", "part.h5"});
  CHECK(damaged.exit_code == 1);
  CHECK_THAT(damaged.out, Contains("expert 0, snapshot 1: 'part.h5': 'params': HDF5: "));
  CHECK_THAT(damaged.err, Contains("'part.h5' is damaged: 2 mismatches"));

  storage::write_part(workspace.path("part.h5"), expert_part(1, 2));
  bytes = read_text(workspace.path("part.h5"));
  const std::size_t option = bytes.find("epochs = 2");
  REQUIRE(option != std::string::npos);
  bytes[option] = 'E';
  write_text(workspace.path("part.h5"), bytes);
  const auto remains = workspace.retort({"info", "part.h5"});
  CHECK(remains.exit_code == 1);
  CHECK_THAT(remains.out, Contains("part.h5, damaged\n") &&
                              Contains("intact   /params [1, 2, 6]\n") &&
                              Contains("intact   /log/norm [1, 2]\n"));
}

TEST_CASE("a run folder is explained, and its damaged files are named", "[apps]") {
  const Workspace& made = condensed_shapes();
  const auto whole = made.retort({"info", "run"});
  INFO(whole.err);
  CHECK(whole.exit_code == 0);
  CHECK_THAT(whole.out, Contains("run, of a run\n") && Contains("method   random\n") &&
                            Contains("dataset  shapes\n") &&
                            Contains("finished after 1 iteration\n"));
  const Workspace workspace;
  std::filesystem::copy(made.path("run"), workspace.path("run"));
  const std::string set = read_text(made.path("run/set.h5"));
  write_text(workspace.path("run/set.h5"), set.substr(0, set.size() / 2));
  write_text(workspace.path("run/checkpoint.h5"), "no checkpoint");
  const auto damaged = workspace.retort({"info", "run"});
  CHECK(damaged.exit_code == 1);
  CHECK_THAT(damaged.err, Contains("'run' holds 2 files that cannot be read: 'run/set.h5'"));
  CHECK_THAT(damaged.out, Contains("method   random\n") && Contains("damaged  'run/set.h5'") &&
                              Contains("damaged  'run/checkpoint.h5'") && !Contains("finished"));
  const auto json = workspace.retort({"info", "run", "--json"});
  CHECK(json.exit_code == 1);
  const auto document = nlohmann::json::parse(json.out);
  CHECK(document["schema"] == "retort.run-info/1");
  CHECK(document["config"]["ipc"] == "2");
  CHECK(document["finished_after"].is_null());
  CHECK(document["findings"].size() == 2);
  std::filesystem::create_directory(workspace.path("empty"));
  const auto empty = workspace.retort({"info", "empty"});
  CHECK(empty.exit_code == 1);
  CHECK_THAT(empty.err, Contains("'empty': is a folder, but of no run"));
}

TEST_CASE("a set made from a subset is announced as such", "[apps]") {
  const Workspace workspace;
  const auto made = workspace.succeed({"condense", "--method", "random", "--dataset", "shapes",
                                       "--images-per-class", "20", "--threads", "1", "--out",
                                       "set.h5", "--quiet"});
  CHECK_THAT(workspace.retort({"info", "set.h5"}).out,
             Contains("condensed from ") &&
                 Contains("a subset, 20 training images per class, not from the whole"));
  CHECK(nlohmann::json::parse(
            workspace.retort({"info", "set.h5", "--json"}).out)["subset_per_class"] == 20);
  const std::vector<std::string> evaluate{
      "evaluate", "set.h5", "--protocol", tiny_protocol(workspace), "--runs", "1", "--threads",
      "1",        "--out",  "judged.json"};
  const auto judged = workspace.retort(evaluate);
  INFO(judged.err);
  CHECK_THAT(judged.out, Contains("condensed from a subset, 20 training images per class"));
  CHECK(nlohmann::json::parse(read_text(workspace.path("judged.json")))["subset_per_class"] == 20);

  const auto whole = condensed_shapes().retort({"info", "set.h5"});
  CHECK_THAT(whole.out, !Contains("subset"));
  const auto document = condensed_shapes().retort({"info", "set.h5", "--json"});
  CHECK(nlohmann::json::parse(document.out)["subset_per_class"].is_null());
}

TEST_CASE("a set is drawn, with real images beside it", "[apps]") {
  const Workspace& workspace = condensed_shapes();
  const auto result = workspace.retort({"show", "set.h5", "--out", "grid.png", "--real", "2"});
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Contains("grid.png") && Contains("0.00 % of the values"));
  REQUIRE(workspace.retort({"show", "set.h5", "--out", "alone.png"}).exit_code == 0);
  const Tensor picture = vision::read_image(workspace.path("grid.png"));
  const Tensor alone = vision::read_image(workspace.path("alone.png"));
  // Images of 16x16 are drawn four times as large; a column stays empty before the real ones.
  constexpr std::int64_t kCell = 64;
  constexpr std::int64_t kPitch = kCell + 4;
  constexpr std::int64_t kMargin = 16;
  CHECK(picture.size(1) == alone.size(1));
  CHECK(picture.size(2) == alone.size(2) + 3 * kPitch);
  const auto dataset = datasets::open_dataset("shapes", {});
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    for (std::int64_t i = 0; i < 2; ++i) {
      INFO("class " << c << ", real image " << i);
      const Tensor real =
          dataset.pixels(data::Split::Train, dataset.class_indices(c).slice(0, i, i + 1))[0];
      const std::int64_t x = picture.size(2) - kMargin - kCell - (1 - i) * kPitch;
      const Tensor shown = picture.narrow(1, kMargin + c * kPitch, kCell).narrow(2, x, kCell);
      const Tensor enlarged = real.repeat_interleave(4, 1).repeat_interleave(4, 2);
      CHECK(at::equal(shown, enlarged.expand_as(shown)));
    }
  }
  const auto bad = workspace.retort({"show", "set.h5", "--out", "grid.xyz"});
  CHECK(bad.exit_code != 0);
  CHECK_THAT(bad.err, Contains("grid.xyz"));
}
