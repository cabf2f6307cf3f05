#include <csignal>

#include <nlohmann/json.hpp>

#include "apps/commands/expert_maker.h"
#include "lib/core/files.h"
#include "lib/storage/expert_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using storage::ExpertReader;
namespace fs = std::filesystem;

namespace {

/// Experts that take milliseconds per epoch.
Words experts(const Words& more) {
  return joined(
      {"experts", "--dataset", "shapes", "--images-per-class", "8", "--net", "ConvNet-2-w8"}, more);
}

void check_same_experts(const fs::path& a, const fs::path& b) {
  const ExpertReader one(a);
  const ExpertReader other(b);
  CHECK(one.id() == other.id());
  REQUIRE(one.experts() == other.experts());
  REQUIRE(one.info().epochs == other.info().epochs);
  for (std::int64_t expert = 0; expert < one.experts(); ++expert) {
    CHECK(one.seeds(expert) == other.seeds(expert));
    for (std::int64_t s = 0; s < std::int64_t(one.info().epochs.size()); ++s) {
      CHECK(one.snapshot(expert, s).equal(other.snapshot(expert, s)));
      CHECK(one.log(expert, s).test_accuracy == other.log(expert, s).test_accuracy);
      CHECK(one.log(expert, s).test_loss == other.log(expert, s).test_loss);
    }
  }
}

/// Snapshots in the part of an expert; 0 while there is none.
std::size_t snapshots_in(const fs::path& part) {
  return fs::exists(part) ? storage::read_expert_summary(part).experts.at(0).log.size() : 0;
}

}  // namespace

TEST_CASE("experts are trained, merged into one file and reported", "[apps][experts]") {
  const Workspace workspace;
  const auto made = workspace.succeed(experts(
      {"--count", "2", "--epochs", "3", "--batch-size", "16", "--threads", "1", "--out", "e.h5"}));
  CHECK_THAT(made.out, Contains("experts") && Contains("2, 2 of them new") &&
                           Contains("% on the test split after the last epoch; nothing is chosen"));
  CHECK_THAT(made.err, Contains("training 2 experts by recipe sgd: ConvNet-2-w8 on shapes, 32 "
                                "images, 3 epochs, into e.h5"));
  CHECK_THAT(made.err, Contains("for information: nothing is chosen by it"));
  CHECK_THAT(made.err, Contains("expert 0: epoch 1 of 3, training loss"));
  CHECK_THAT(made.err,
             Contains("expert 1: epoch 3 of 3, training loss") && Contains("; test loss"));
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));

  const ExpertReader file(workspace.path("e.h5"));
  CHECK(file.experts() == 2);
  CHECK(file.info().recipe == "sgd");
  CHECK(file.info().dataset == "shapes");
  CHECK(file.info().dataset_note == "training split reduced to 8 images per class");
  CHECK(file.info().train_images == 32);
  CHECK(file.info().network == "ConvNet-2-w8");
  CHECK(file.info().epochs == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK_FALSE(file.info().program_version.empty());
  CHECK_THAT(file.info().options, Contains("recipe = sgd\n") && Contains("lr = 0.01\n") &&
                                      Contains("seed = 0\n") && Contains("batch-size = 16\n"));
  CHECK_FALSE(file.snapshot(0, 3).equal(file.snapshot(1, 3)));
  CHECK(file.log(0, 3).test_accuracy > 0);
}

TEST_CASE("the document of experts says what was made", "[apps][experts]") {
  const Workspace workspace;
  const auto made = workspace.succeed(
      experts({"--recipe", "ftd", "--count", "2", "--epochs", "4", "--keep-every", "3", "--store",
               "bf16", "--lr", "0.1", "--out", "e.h5", "--threads", "1", "--json", "--quiet"}));
  CHECK(made.err.empty());
  const auto document = nlohmann::json::parse(made.out);
  CHECK(document["schema"] == "retort.experts/1");
  CHECK(document["out"] == "e.h5");
  CHECK(document["recipe"] == "ftd");
  CHECK(document["dataset"] == "shapes");
  CHECK(document["network"] == "ConvNet-2-w8");
  CHECK(document["experts"] == 2);
  CHECK(document["added"] == 2);
  CHECK(document["unfinished"].empty());
  CHECK(document["snapshot_epochs"] == std::vector<int>{0, 3, 4});
  CHECK(document["accuracy"]["runs"].size() == 2);
  CHECK(document["tested_on"] == "test");
  CHECK(document["bytes"] == fs::file_size(workspace.path("e.h5")));
  CHECK(document["kernels"]["policy"] == "fast");
  const ExpertReader file(workspace.path("e.h5"));
  CHECK(document["id"] == file.id());
  CHECK(document["parameters"] == file.parameters());
  CHECK(file.info().recipe == "gsam");
  CHECK(file.info().store == storage::ExpertInfo::Store::Bf16);
}

TEST_CASE("experts trained side by side have the bits of those trained one by one",
          "[apps][experts]") {
  const Workspace workspace;
  const auto make = [&](const std::string& out, const Words& how) {
    workspace.succeed(joined(experts({"--count", "3", "--epochs", "2", "--out", out}), how));
  };
  make("one.h5", {"--threads", "1"});
  make("auto.h5", {"--threads", "2"});
  make("lanes.h5", {"--threads", "2", "--parallel", "2"});
  make("turns.h5", {"--threads", "2", "--parallel", "1"});
  for (const char* other : {"auto.h5", "lanes.h5", "turns.h5"}) {
    check_same_experts(workspace.path("one.h5"), workspace.path(other));
  }
}

TEST_CASE("as many experts as threads train at once, a rest takes turns", "[apps][experts]") {
  using commands::lanes_for;
  const auto is = [](const commands::Lanes& lanes, std::int64_t count, std::int64_t made) {
    return lanes.lanes == count && lanes.experts == made;
  };
  CHECK(is(lanes_for(0, 4, 2, 256), 2, 4));
  CHECK(is(lanes_for(0, 5, 2, 256), 2, 4));
  CHECK(is(lanes_for(0, 1, 2, 256), 0, 0));
  CHECK(is(lanes_for(0, 1, 2, 8), 1, 1));  // too few images to share
  CHECK(is(lanes_for(2, 5, 4, 256), 2, 5));
  CHECK(is(lanes_for(1, 5, 4, 256), 0, 0));
}

TEST_CASE("experts killed and started again end in the bits of ones never stopped",
          "[apps][experts][resume]") {
  const Workspace workspace;
  const auto command = [](const std::string& out) {
    return experts(
        {"--recipe", "ast", "--count", "2", "--epochs", "60", "--threads", "1", "--out", out});
  };
  REQUIRE(workspace.start(command("whole.h5")).wait().exit_code == 0);
  for (const auto& [expert, snapshots] : {std::pair(0, 5), std::pair(1, 5)}) {
    const fs::path part = storage::part_path(workspace.path("e.h5"), expert);
    Process running = workspace.start(command("e.h5"));
    const auto killed =
        signal_when(running, SIGKILL, [&] { return snapshots_in(part) >= std::size_t(snapshots); });
    INFO(killed.err);
    REQUIRE(killed.exit_code == 128 + SIGKILL);
    CHECK_FALSE(fs::exists(workspace.path("e.h5")));
  }
  // A kill rarely comes within a write: what it leaves then.
  write_text(workspace.path("e.h5.parts/expert-1.h5.tmp.1"), "half a part");
  const auto resumed = workspace.start(command("e.h5")).wait();
  INFO(resumed.err);
  REQUIRE(resumed.exit_code == 0);
  CHECK_THAT(resumed.err, Contains("expert 1 goes on after"));
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));
  check_same_experts(workspace.path("whole.h5"), workspace.path("e.h5"));
}

TEST_CASE("interrupted experts are saved, end with code 130 and go on", "[apps][experts]") {
  const Workspace workspace;
  const auto command = [](const std::string& out) {
    return experts({"--count", "3", "--epochs", "40", "--threads", "2", "--out", out});
  };
  Process running = workspace.start(command("e.h5"));
  const fs::path part = storage::part_path(workspace.path("e.h5"), 1);
  const auto stopped = signal_when(running, SIGINT, [&] { return snapshots_in(part) >= 3; });
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 130);
  CHECK_THAT(stopped.err, Contains("of 3 experts are finished") && Contains("e.h5.parts") &&
                              Contains("the same command goes on"));
  CHECK_FALSE(fs::exists(workspace.path("e.h5")));
  workspace.succeed(command("e.h5"));
  workspace.succeed(command("whole.h5"));
  check_same_experts(workspace.path("whole.h5"), workspace.path("e.h5"));
}

TEST_CASE("two processes share out the experts of one file", "[apps][experts]") {
  const Workspace workspace;
  const Words command =
      experts({"--count", "4", "--epochs", "30", "--threads", "1", "--out", "e.h5"});
  Process one = workspace.start(command);
  // Outputs of the second go elsewhere.
  const Workspace beside;
  Process other = beside.start(
      joined(Words(command.begin(), command.end() - 1), {workspace.path("e.h5").string()}));
  const auto first = one.wait();
  const auto second = other.wait();
  INFO(first.err << second.err);
  // One that comes when the other is done finds the file.
  CHECK(first.exit_code + second.exit_code <= 2);
  CHECK(ExpertReader(workspace.path("e.h5")).experts() == 4);
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));
}

TEST_CASE("more experts are added to a file only on demand", "[apps][experts]") {
  const Workspace workspace;
  const auto make = [&](const Words& more) {
    return workspace.retort(joined(experts({"--epochs", "1", "--threads", "1"}), more));
  };
  REQUIRE(make({"--count", "1", "--out", "e.h5"}).exit_code == 0);
  const std::string before = read_text(workspace.path("e.h5"));
  const auto refused = make({"--count", "1", "--out", "e.h5"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("'e.h5' exists; --add makes more experts for it"));
  const auto other = make({"--count", "1", "--out", "e.h5", "--add", "--lr", "0.02"});
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err,
             Contains("'e.h5' was made with other settings (theirs / yours): lr: 0.01 / 0.02"));
  CHECK(read_text(workspace.path("e.h5")) == before);
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));

  const auto added = make({"--count", "2", "--out", "e.h5", "--add"});
  INFO(added.err);
  REQUIRE(added.exit_code == 0);
  CHECK_THAT(added.out, Contains("3, 2 of them new"));
  REQUIRE(make({"--count", "3", "--out", "whole.h5"}).exit_code == 0);
  check_same_experts(workspace.path("whole.h5"), workspace.path("e.h5"));
}

TEST_CASE("what is complete can be merged before the rest is", "[apps][experts]") {
  const Workspace workspace;
  const Words command =
      experts({"--count", "3", "--epochs", "40", "--threads", "1", "--out", "e.h5"});
  const auto nothing = workspace.retort({"experts", "--merge", "--out", "e.h5"});
  CHECK(nothing.exit_code == 2);
  CHECK_THAT(nothing.err, Contains("there is no complete part in 'e.h5.parts'"));
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));

  Process running = workspace.start(command);
  const fs::path second = storage::part_path(workspace.path("e.h5"), 1);
  const auto stopped = signal_when(running, SIGTERM, [&] { return snapshots_in(second) > 0; });
  REQUIRE(stopped.exit_code == 130);
  const auto merged = workspace.succeed({"experts", "--merge", "--out", "e.h5", "--json"});
  const auto document = nlohmann::json::parse(merged.out);
  // The signal may come late, when the second is complete.
  const std::size_t complete = document["experts"];
  CHECK(complete >= 1);
  CHECK(document["added"] == complete);
  CHECK(document["unfinished"].size() == 3 - complete);
  CHECK_FALSE(document.contains("kernels"));

  // Its plan is still there, so the command needs no --add.
  const auto other = workspace.retort(joined(command, {"--seed", "4"}));
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("seed: 0 / 4"));
  workspace.succeed(command);
  CHECK(ExpertReader(workspace.path("e.h5")).experts() == 3);
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));
}

TEST_CASE("images held out are not trained on and tested on instead", "[apps][experts]") {
  const Workspace workspace;
  const auto made = workspace.succeed(experts(
      {"--count", "1", "--epochs", "1", "--hold-out", "0.25", "--out", "e.h5", "--threads", "1"}));
  CHECK_THAT(made.err, Contains("tested on the images held out"));
  CHECK_THAT(made.out, Contains("% on held-out training images"));
  const ExpertReader file(workspace.path("e.h5"));
  CHECK(file.info().train_images == 24);
  CHECK_THAT(file.info().dataset_note, Contains("test split is 25 % held out"));
}

TEST_CASE("experts go untested, or are tested every few epochs and last", "[apps][experts]") {
  const Workspace workspace;
  const auto tested = [&](const std::string& every) {
    const std::string out = "e" + every + ".h5";
    workspace.succeed(experts(
        {"--count", "1", "--epochs", "3", "--test-every", every, "--out", out, "--threads", "1"}));
    const ExpertReader file(workspace.path(out));
    std::vector<bool> all;
    for (std::int64_t s = 0; s < 4; ++s) {
      const double accuracy = file.log(0, s).test_accuracy;
      all.push_back(accuracy == accuracy);
    }
    return all;
  };
  CHECK(tested("1") == std::vector<bool>{true, true, true, true});
  CHECK(tested("2") == std::vector<bool>{true, false, true, true});
  CHECK(tested("0") == std::vector<bool>{false, false, false, false});
}

TEST_CASE("the cost of experts is predicted", "[apps][experts]") {
  const Workspace workspace;
  const auto text = workspace.succeed(experts({"--dry-run", "--recipe", "ast"}));
  CHECK_THAT(text.out, Contains("each epoch of one") && Contains("memory in all"));
  const auto made = workspace.succeed(
      experts({"--dry-run", "--json", "--count", "2", "--epochs", "3", "--out", "e.h5"}));
  const auto document = nlohmann::json::parse(made.out);
  CHECK(document["schema"] == "retort.experts-prediction/1");
  CHECK(document["total_seconds"].get<double>() ==
        Approx(6 * document["epoch_seconds"].get<double>()).epsilon(1e-9));
  CHECK(document["file_bytes"].get<double>() > 0);
  CHECK_FALSE(fs::exists(workspace.path("e.h5")));
  CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));
}

TEST_CASE("a wrong command for experts ends with code 2 and says why", "[apps][experts]") {
  const Workspace workspace;
  write_text(workspace.path("text.h5"), "not experts");
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(joined({"experts"}, words));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(text));
    CHECK_FALSE(fs::exists(workspace.path("e.h5.parts")));
  };
  const Words shapes{"--dataset", "shapes", "--out", "e.h5"};
  check({"--dataset", "shapes"}, "Give --out FILE");
  check({"--out", "e.h5"}, "which dataset? Give --dataset NAME");
  check(joined(shapes, {"--recipe", "mtt"}), "unknown recipe 'mtt'");
  check(joined(shapes, {"--rho", "0.1"}),
        "the recipe 'sgd' has none of this name; an option of ftd");
  check(joined(shapes, {"--recipe", "ftd", "--gradient-penalty", "1"}), "an option of ast");
  check(joined(shapes, {"--lr-drop-after", "3"}),
        "'lr-drop-after' changes nothing while lr-drop is 1");
  check(joined(shapes, {"--net", "ConvNet-2-BN-w8"}), "has BatchNorm");
  check(joined(shapes, {"--threads", "2", "--parallel", "3"}), "expected at most 2, found 3");
  check(joined(shapes, {"--hold-out", "0.7"}), "0, or 0.01 .. 0.5");
  check(joined(shapes, {"--augmentation", "wobble"}), "unknown augmentation 'wobble'");
  check({"--merge", "--out", "e.h5", "--lr", "1"}, "option 'lr' changes nothing with --merge");
  check({"--dataset", "shapes", "--out", "text.h5"}, "'text.h5' exists and is no file of experts");
}
