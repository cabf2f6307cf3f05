// Networks trained to the end, for methods that condense what they know.
#include <csignal>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/nn/network.h"
#include "lib/storage/exchange.h"
#include "lib/storage/teacher_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using storage::TeacherReader;
namespace fs = std::filesystem;

namespace {

constexpr const char* kNet = "ConvNet-2-BN-w8";

/// Teachers that take milliseconds per epoch.
Words teachers(const std::string& nets, const Words& more, const std::string& epochs = "3") {
  return joined({"teachers", "--dataset", "shapes", "--images-per-class", "8", "--nets", nets,
                 "--batch-size", "16", "--epochs", epochs, "--threads", "1"},
                more);
}

std::string digest(const fs::path& file, std::int64_t index) {
  return TeacherReader(file).teacher(index).sha256();
}

std::string statistics_digest(const fs::path& file, std::int64_t index) {
  return TeacherReader(file).teacher(index).statistics_sha256();
}

}  // namespace

TEST_CASE("teachers are trained into one file, reported and described", "[apps][teachers]") {
  const Workspace workspace;
  const auto made = workspace.succeed(teachers("ConvNet-2-BN-w8,MLP", {"--out", "t.h5", "--json"}));
  CHECK_THAT(made.err, Contains("training ConvNet-2-BN-w8 by recipe sgd: 32 images of shapes") &&
                           Contains("MLP: epoch 3 of 3, training loss") &&
                           Contains("on the test split; nothing is chosen by it"));
  const auto document = nlohmann::json::parse(made.out);
  CHECK(document["schema"] == "retort.teachers/1");
  CHECK(document["added"] == 2);
  REQUIRE(document["teachers"].size() == 2);
  CHECK(document["teachers"][0]["network"] == "ConvNet-2-BN-w8");
  CHECK(document["teachers"][0]["tested_on"] == "test");
  CHECK(document["teachers"][0]["sha256"] == digest(workspace.path("t.h5"), 0));
  CHECK(document["teachers"][1]["epochs"] == 3);
  CHECK_FALSE(fs::exists(workspace.path("t.h5.parts")));

  const auto info = workspace.succeed({"info", "t.h5"});
  CHECK_THAT(info.out, Contains("t.h5, 2 teachers") && Contains("32 images of 1x16x16") &&
                           Contains("MLP") && Contains("reduced to 8 images per class") &&
                           Contains("  sgd  ") && !Contains("curvature"));
  const auto json = nlohmann::json::parse(workspace.succeed({"info", "t.h5", "--json"}).out);
  CHECK(json["schema"] == "retort.teachers-info/1");
  CHECK_THAT(json["teachers"][0]["options"].get<std::string>(), Contains("batch-size = 16\n"));
  CHECK(workspace.succeed({"verify", "t.h5"}).exit_code == 0);
}

TEST_CASE("more teachers are added only on demand, each with a stream of its own",
          "[apps][teachers]") {
  const Workspace workspace;
  workspace.succeed(teachers(kNet, {"--out", "t.h5"}));
  const std::string before = read_text(workspace.path("t.h5"));
  const auto refused = workspace.retort(teachers(kNet, {"--out", "t.h5"}));
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("'t.h5' exists; --add trains more teachers for it"));
  CHECK(read_text(workspace.path("t.h5")) == before);

  const std::string first = digest(workspace.path("t.h5"), 0);
  workspace.succeed(teachers(kNet, {"--out", "t.h5", "--add"}));
  CHECK(TeacherReader(workspace.path("t.h5")).count() == 2);
  CHECK(digest(workspace.path("t.h5"), 0) == first);
  CHECK(digest(workspace.path("t.h5"), 1) != first);
  // The n-th is the same whether trained alone or together.
  workspace.succeed(teachers("ConvNet-2-BN-w8,ConvNet-2-BN-w8", {"--out", "both.h5"}));
  CHECK(digest(workspace.path("both.h5"), 1) == digest(workspace.path("t.h5"), 1));

  const auto other =
      workspace.retort(joined(teachers(kNet, {"--out", "t.h5", "--add"}), {"--zca"}));
  CHECK(other.exit_code == 1);
  CHECK_THAT(other.err,
             Contains("the teachers do not fit 'shapes'") && Contains("preprocessing: expected"));

  // Else the file would say of the first ones that they have not seen what is held out.
  const auto fewer =
      workspace.retort(teachers(kNet, {"--out", "t.h5", "--add", "--hold-out", "0.25"}));
  CHECK(fewer.exit_code == 2);
  CHECK_THAT(fewer.err, Contains("trained on 32 images") && Contains("would be on 24 images"));
  CHECK(TeacherReader(workspace.path("t.h5")).count() == 2);
}

TEST_CASE("a kill between writing the file and tidying up costs nothing",
          "[apps][teachers][kill]") {
  const Workspace workspace;
  workspace.succeed(teachers(kNet, {"--out", "t.h5"}));
  const fs::path parts = workspace.path("t.h5.parts");
  const auto as_killed = [&] {
    fs::create_directories(parts);
    fs::copy_file(workspace.path("t.h5"), parts / "teacher-0.h5");
    write_text(parts / "plan.cfg", "after = 0\n");
  };
  const std::string before = read_text(workspace.path("t.h5"));
  for (const Words& more : {Words{"--out", "t.h5"}, Words{"--out", "t.h5", "--add"}}) {
    as_killed();
    const auto again = workspace.succeed(teachers(kNet, more));
    CHECK_THAT(again.err, Contains("all teachers were finished before"));
    CHECK(read_text(workspace.path("t.h5")) == before);
    CHECK_FALSE(fs::exists(parts));
  }
}

TEST_CASE("teachers killed amid their training go on to the same bits", "[apps][teachers][kill]") {
  const Workspace workspace;
  const auto words_for = [](const Words& more) {
    return teachers("ConvNet-2-BN-w8,ConvNet-2-BN-w16", more, "200");
  };
  const Words words = words_for({"--out", "t.h5"});
  workspace.succeed(words_for({"--out", "whole.h5"}));
  const fs::path parts = workspace.path("t.h5.parts");
  const auto saved_at = [&] {
    const fs::path first = parts / "checkpoint-0.h5";
    return fs::exists(first) ? fs::last_write_time(first) : fs::file_time_type::min();
  };
  for (const int number : {SIGKILL, SIGINT}) {
    const auto before = saved_at();
    auto running = workspace.start(words);
    const ProcessResult left = signal_when(running, number, [&] { return saved_at() != before; });
    REQUIRE(left.exit_code != 0);  // it was not finished
    if (number == SIGKILL) continue;
    CHECK(left.exit_code == 130);
    CHECK_THAT(left.err, Contains("saved in t.h5.parts, the same command goes on"));
  }
  const auto other = workspace.retort(joined(words, {"--lr", "0.5"}));
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("unfinished teachers of other settings") && Contains("lr: "));
  workspace.succeed(words);
  for (const std::int64_t i : {0, 1}) {
    CHECK(digest(workspace.path("t.h5"), i) == digest(workspace.path("whole.h5"), i));
  }
  CHECK_FALSE(fs::exists(parts));
}

TEST_CASE("the cost of teachers is predicted, GUARD's included", "[apps][teachers]") {
  const Workspace workspace;
  const auto seconds = [&](const Words& more) {
    const auto made = workspace.succeed(teachers(kNet, joined({"--dry-run", "--json"}, more)));
    const auto document = nlohmann::json::parse(made.out);
    CHECK(document["schema"] == "retort.teachers-prediction/1");
    return document["total_seconds"].get<double>();
  };
  CHECK(seconds({"--curvature", "full"}) > 3 * seconds({}));
  CHECK_THAT(workspace.succeed(teachers(kNet, {"--dry-run"})).out, Contains("in all"));
}

TEST_CASE("images held out are not trained on and tested on instead; GUARD's penalty trains",
          "[apps][teachers]") {
  const Workspace workspace;
  workspace.succeed(
      teachers(kNet, {"--hold-out", "0.25", "--out", "t.h5", "--curvature", "simplified"}));
  const TeacherReader file(workspace.path("t.h5"));
  CHECK(file.data().train_images == 24);
  CHECK(file.teacher(0).tested_on == "held-out");
  CHECK_THAT(file.teacher(0).options, Contains("curvature = simplified\n"));
  CHECK_THAT(workspace.succeed({"info", "t.h5"}).out, Contains("  sgd, curvature simplified  "));
}

TEST_CASE(
    "statistics of classes are taken while teachers are trained, or afterwards to the same bits",
    "[apps][teachers]") {
  const Workspace workspace;
  workspace.succeed(teachers(kNet, {"--out", "t.h5", "--class-statistics", "ema"}));
  workspace.succeed(teachers(kNet, {"--out", "later.h5"}));
  CHECK(TeacherReader(workspace.path("later.h5")).teacher(0).class_statistics.empty());
  const Words common{"teachers",
                     "--dataset",
                     "shapes",
                     "--images-per-class",
                     "8",
                     "--threads",
                     "1",
                     "--batch-size",
                     "16",
                     "--statistics-only",
                     "--class-statistics"};
  const auto added = workspace.succeed(joined(common, {"ema", "--out", "later.h5", "--json"}));
  CHECK_THAT(added.err, Contains("statistics of 4 classes (ema)"));
  const auto document = nlohmann::json::parse(added.out);
  CHECK(document["added"] == 0);
  CHECK(document["teachers"][0]["class_statistics"] == true);
  CHECK(document["teachers"][0]["class_average"] == "ema");
  CHECK(digest(workspace.path("later.h5"), 0) == digest(workspace.path("t.h5"), 0));
  CHECK(statistics_digest(workspace.path("later.h5"), 0) ==
        statistics_digest(workspace.path("t.h5"), 0));
  CHECK(document["teachers"][0]["class_statistics_sha256"] ==
        statistics_digest(workspace.path("t.h5"), 0));
  CHECK_FALSE(fs::exists(workspace.path("later.h5.parts")));
  workspace.succeed(joined(common, {"mean", "--out", "later.h5"}));
  const auto teacher = TeacherReader(workspace.path("later.h5")).teacher(0);
  CHECK(teacher.class_average == "mean");
  CHECK(teacher.class_statistics[0].value.size(0) == 4);
  CHECK(statistics_digest(workspace.path("later.h5"), 0) !=
        statistics_digest(workspace.path("t.h5"), 0));
  CHECK(digest(workspace.path("later.h5"), 0) == digest(workspace.path("t.h5"), 0));
}

TEST_CASE("statistics of classes that are interrupted go on with the teachers that lack them",
          "[apps][teachers][kill]") {
  const Workspace workspace;
  const Words common{"teachers", "--dataset", "shapes", "--threads", "1", "--batch-size", "16"};
  workspace.succeed(joined(common, {"--nets", "ConvNet-1-BN-w8,ConvNet-3-BN-w128", "--epochs", "1",
                                    "--images-per-class", "100", "--out", "t.h5"}));
  const Words words = joined(common, {"--images-per-class", "100", "--statistics-only",
                                      "--class-statistics", "mean", "--out"});
  fs::copy_file(workspace.path("t.h5"), workspace.path("whole.h5"));
  workspace.succeed(joined(words, {"whole.h5"}));
  const std::string before = read_text(workspace.path("t.h5"));
  const fs::path first = workspace.path("t.h5.parts") / "teacher-0.h5";
  auto running = workspace.start(joined(words, {"t.h5"}));
  const ProcessResult left = signal_when(running, SIGINT, [&] { return fs::exists(first); });
  REQUIRE(left.exit_code == 130);  // it was not finished
  CHECK_THAT(left.err, Contains("taking statistics of classes") &&
                           Contains("saved in t.h5.parts, the same command goes on"));
  CHECK(read_text(workspace.path("t.h5")) == before);
  const auto other = workspace.retort(joined(words, {"t.h5", "--seed", "1"}));
  CHECK(other.exit_code == 2);

  const auto again = workspace.succeed(joined(words, {"t.h5"}));
  CHECK_THAT(again.err, Contains("ConvNet-1-BN-w8 had its statistics before") &&
                            Contains("ConvNet-3-BN: statistics of 4 classes (mean)"));
  for (const std::int64_t i : {0, 1}) {
    CHECK(statistics_digest(workspace.path("t.h5"), i) ==
          statistics_digest(workspace.path("whole.h5"), i));
  }
  CHECK_FALSE(fs::exists(workspace.path("t.h5.parts")));
}

TEST_CASE("weights from elsewhere become a teacher, tested like a trained one",
          "[apps][teachers]") {
  const Workspace workspace;
  workspace.succeed(teachers(kNet, {"--recipe", "adam", "--lr", "0.01", "--out", "t.h5"}, "15"));
  const auto trained = TeacherReader(workspace.path("t.h5")).teacher(0);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto* list : {&trained.parameters, &trained.buffers}) {
    for (const auto& [name, value] : *list) tensors.emplace_back("module." + name, value);
  }
  storage::write_pt(workspace.path("w.pt"), tensors);
  const Words words{"teachers", "--dataset", "shapes", "--images-per-class", "8", "--nets",
                    kNet,       "--import",  "w.pt",   "--threads",          "1"};
  workspace.succeed(joined(words, {"--out", "imported.h5"}));
  const auto imported = TeacherReader(workspace.path("imported.h5")).teacher(0);
  CHECK(imported.sha256() == trained.sha256());
  CHECK(imported.accuracy == trained.accuracy);
  CHECK(imported.tested_on == "test");
  CHECK(imported.options.empty());
  CHECK(imported.epochs == 0);
  workspace.succeed(joined(words, {"--out", "t.h5", "--add"}));
  CHECK(TeacherReader(workspace.path("t.h5")).count() == 2);

  const auto other = workspace.retort(
      {"teachers", "--dataset", "shapes", "--nets", "MLP", "--import", "w.pt", "--out", "mlp.h5"});
  CHECK(other.exit_code == 1);
  CHECK_THAT(other.err, Contains("'w.pt': the weights are not those of MLP; ") &&
                            Contains(" missing: ") && Contains(" unexpected: "));
  CHECK_FALSE(fs::exists(workspace.path("mlp.h5")));
}

TEST_CASE("imported weights that do not know the dataset are taken with a warning",
          "[apps][teachers]") {
  const Workspace workspace;
  const auto network = nn::make_network(kNet, {1, 16, 16}, 4);
  const auto state = network->initialize(Rng(1));
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    tensors.emplace_back(network->parameters()[i].name, state.parameters[i]);
  }
  for (std::size_t i = 0; i < state.buffers.size(); ++i) {
    tensors.emplace_back(network->buffers()[i].name, state.buffers[i]);
  }
  storage::write_pt(workspace.path("w.pt"), tensors);
  const auto made = workspace.succeed(
      {"teachers", "--dataset", "shapes", "--nets", kNet, "--import", "w.pt", "--out", "t.h5"});
  CHECK_THAT(made.err, Contains("warning: ") && Contains("'w.pt'") &&
                           Contains("a teacher that is not trained") && !Contains("its file says"));
}

TEST_CASE("a wrong command for teachers ends with code 2 and says why", "[apps][teachers]") {
  const Workspace workspace;
  write_text(workspace.path("text.h5"), "no teachers");
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(joined({"teachers"}, words));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(text));
    CHECK_FALSE(fs::exists(workspace.path("t.h5.parts")));
  };
  const Words shapes{"--dataset", "shapes", "--out", "t.h5"};
  check({"--dataset", "shapes"}, "Give --out FILE");
  check({"--out", "t.h5"}, "which dataset? Give --dataset NAME");
  check(joined(shapes, {"--recipe", "moco"}), "unknown recipe of teachers 'moco'");
  check(joined(shapes, {"--nets", "ConvNe-3"}), "did you mean 'ConvNet-3'?");
  check(joined(shapes, {"--curvature-step", "2"}), "changes nothing");
  check(joined(shapes, {"--epochs", "3", "--warmup-epochs", "5"}),
        "warmup-epochs 5: expected at most epochs, 3");
  check(joined(shapes, {"--import", "w.pt"}), "there is no file 'w.pt'");
  check(joined(shapes, {"--import", "w.pt", "--nets", "MLP,LeNet"}), "--nets names 2: MLP, LeNet");
  check(joined(shapes, {"--import", "w.pt", "--epochs", "3"}),
        "--epochs means nothing with --import");
  check(joined(shapes, {"--statistics-only"}), "Give --class-statistics ema or mean");
  check(joined(shapes, {"--statistics-only", "--class-statistics", "ema"}),
        "there is no file 't.h5'");
  check(joined(shapes, {"--class-statistics", "ema", "--nets", "MLP"}), "MLP has none");
  check({"--dataset", "shapes", "--out", "text.h5"}, "'text.h5' exists and is no file of teachers");
}
