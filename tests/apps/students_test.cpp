// evaluate by labels of teachers, and under attack, on a set of shapes.
#include <csignal>

#include <nlohmann/json.hpp>

#include "apps/cli/terminal.h"
#include "apps/commands/kept_views.h"
#include "apps/commands/student_teachers.h"
#include "datasets/dataset.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/storage/set_file.h"
#include "lib/train/committee.h"
#include "lib/train/labelling.h"
#include "lib/train/relabel.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// set.h5, labelled.h5 with views of 2 epochs, static.h5, and their teachers t.h5.
const Workspace& labelled_shapes() {
  static const Workspace workspace;
  static const bool made = [] {
    fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
    for (const char* seed : {"0", "1"}) {
      const std::string file = seed == std::string("0") ? "t.h5" : "other.h5";
      workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8", "--epochs",
                         "4", "--batch-size", "32", "--seed", seed, "--threads", "1", "--out",
                         file});
    }
    const auto dataset = datasets::open_dataset("shapes", {});
    const auto members = train::load_committee(workspace.path("t.h5"), {}, dataset);
    auto recipe = train::RelabelRecipe::defaults("fkd");
    recipe.epochs = 2;
    recipe.batch_size = 4;
    recipe.smallest_area = 0.5;
    data::SyntheticSet set = storage::read_set(workspace.path("set.h5"));
    const train::Labeler labeler = train::labeler_of(recipe, members, set.images.size(0));
    set.assets.push_back(train::asset_of(members, workspace.path("t.h5"), "labelers"));
    const data::Labels hard = set.labels;
    set.labels = train::image_labels(train::RelabelRecipe::defaults("static"), labeler, set.images,
                                     data::hard_classes(hard));
    storage::write_set(workspace.path("static.h5"), set);
    set.labels = hard;
    auto views = std::make_shared<data::ViewList>(train::views_info(recipe, 8, 4, {16, 16}));
    for (std::int64_t i = 0; i < 4; ++i) {
      views->append(train::labelled_batch(recipe, labeler, set.images, i));
    }
    set.views = views;
    storage::write_set(workspace.path("labelled.h5"), set);
    return true;
  }();
  REQUIRE(made);
  return workspace;
}

Words evaluate(const std::string& set, const std::string& protocol, const Words& more = {}) {
  return joined({"evaluate", set, "--protocol", protocol, "--nets", "ConvNet-2-w8", "--runs", "1",
                 "--threads", "1"},
                more);
}

/// As float32.
std::uint64_t bytes_of_teachers(const std::string& file) {
  std::int64_t values = 0;
  for (const auto& member : train::load_committee(labelled_shapes().path(file), {},
                                                  datasets::open_dataset("shapes", {}))) {
    for (const auto& tensor : member.state.parameters) values += tensor.numel();
    for (const auto& tensor : member.state.buffers) values += tensor.numel();
  }
  return std::uint64_t(values) * 4;
}

const Words kShort{"--protocol-set", "epochs=2,batch-size=4"};

nlohmann::json document(const Words& words) {
  return nlohmann::json::parse(labelled_shapes().succeed(joined(words, {"--json"})).out);
}

}  // namespace

TEST_CASE("a set is judged by labels of views beside hard labels and labelled baselines",
          "[apps][evaluate][taught]") {
  const Workspace& workspace = labelled_shapes();
  const Words words = evaluate("labelled.h5", "fkd-300",
                               joined(kShort, {"--teachers", "t.h5", "--baselines", "random"}));
  const auto result = workspace.succeed(joined(words, {"--json", "--out", "views.json"}));
  CHECK_THAT(result.err, Contains("training ConvNet-2-w8 on labelled.h5, 1 network: about"));
  const auto judged = nlohmann::json::parse(result.out);
  CHECK(judged["protocol"] == "fkd-300 (epochs = 2, batch-size = 4)");
  CHECK(judged["protocol_options"]["labels"] == "views");
  CHECK(judged["sgd_steps"] == 4);
  CHECK(judged["teachers"]["file"] == "t.h5");
  CHECK(judged["bytes"]["label_views"] > 0);
  REQUIRE(judged["hard_labels"].size() == 1);
  CHECK(judged["hard_labels"][0]["bytes"]["label_views"] == 0);
  CHECK(judged["hard_labels"][0]["sgd_steps"] == 4);
  // The set is itself the choice that the baseline makes, and labelled as the set was.
  REQUIRE(judged["baselines"].size() == 1);
  CHECK(judged["baselines"][0]["accuracy"] == judged["results"][0]["accuracy"]);
  CHECK(judged["baselines"][0]["confusion"] == judged["results"][0]["confusion"]);
  CHECK(judged["baselines"][0]["bytes"]["label_values"] > 0);
  CHECK_FALSE(fs::exists(workspace.path("views.json.random.parts")));
  const auto table = workspace.succeed(joined(words, {"--no-hard"})).out;
  CHECK_THAT(table, Contains("(--no-hard)") && !Contains("\nhard labels"));
}

TEST_CASE("teachers are asked while students train, and static labels are mixed",
          "[apps][evaluate][taught]") {
  const auto asked = document(evaluate("set.h5", "rded", joined(kShort, {"--teachers", "t.h5"})));
  CHECK(asked["protocol_options"]["mix"] == "cutmix");
  CHECK(asked["hard_labels"].size() == 1);
  // Images have 4 bytes each, what students need beside them is counted with the teachers.
  CHECK(asked["bytes"]["labels"] == 8 * 4);
  CHECK(asked["teachers"]["bytes"] == bytes_of_teachers("t.h5"));
  const auto by_batch = labelled_shapes().succeed(evaluate(
      "set.h5", "rded",
      {"--protocol-set", "epochs=2,batch-size=4,teacher-batch-norm=batch", "--teachers", "t.h5"}));
  CHECK_THAT(by_batch.out, Contains("asked view by view on the statistics of mini-batches"));
  const auto fixed = document(evaluate(
      "static.h5", "infer", joined(kShort, {"--teachers", "t.h5", "--baselines", "random"})));
  CHECK(fixed["protocol_options"]["temperature"] == "30");
  CHECK(fixed["baselines"][0]["accuracy"] == fixed["results"][0]["accuracy"]);
  CHECK(fixed["bytes"]["labels"] == 8 * 4 + 8 * 4 * 2);
  CHECK(fixed["baselines"][0]["bytes"]["labels"] == fixed["bytes"]["labels"]);
}

TEST_CASE("labels of teachers are neither used nor counted where the set's own are asked for",
          "[apps][evaluate][taught]") {
  const Workspace& workspace = labelled_shapes();
  const std::string protocol = tiny_protocol(workspace);
  const auto judged = [&](const std::string& set) {
    return workspace.succeed(joined(evaluate(set, protocol), {"--json"}));
  };
  const auto taught = judged("static.h5");
  CHECK_THAT(taught.err, Contains("warning: teachers have labelled the images of the set, which "
                                  "protocol 'tiny' does not use") &&
                             Contains("these labels are for infer"));
  const auto own = judged("set.h5");
  CHECK_THAT(own.err, !Contains("teachers have labelled"));
  for (const auto* result : {&taught, &own}) {
    const auto document = nlohmann::json::parse(result->out);
    CHECK(document["bytes"]["labels"] == 8 * 4);
    CHECK(document["results"][0]["confusion"] ==
          nlohmann::json::parse(own.out)["results"][0]["confusion"]);
  }
  CHECK(nlohmann::json::parse(judged("labelled.h5").out)["bytes"]["labels"] == 8 * 4);
}

TEST_CASE("baselines get static labels by the recipe of the set, its votes included",
          "[apps][evaluate][taught]") {
  const Workspace& workspace = labelled_shapes();
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8,ConvNet-1-BN-w8",
                     "--recipe", "adam", "--lr", "0.01", "--epochs", "6", "--batch-size", "16",
                     "--threads", "1", "--out", "two.h5"});
  const auto dataset = datasets::open_dataset("shapes", {});
  commands::StudentTeachers teachers(workspace.path("two.h5"), {}, dataset);
  eval::Protocol protocol;
  protocol.labels = "static";
  cli::Terminal terminal(stderr, false);
  const StopFlag stop;
  cli::Program program{terminal, stop};
  const auto labels_by = [&](const Words& vote) {
    workspace.succeed(joined({"relabel", "set.h5", "--teachers", "two.h5", "--recipe", "static",
                              "--out", "voted.h5", "--force"},
                             vote));
    const auto set = storage::read_set(workspace.path("voted.h5"));
    auto baseline = storage::read_set(workspace.path("set.h5"));
    teachers.label({"random", baseline, {}}, set, protocol, dataset, program);
    const Tensor values = std::get<data::SoftLabels>(set.labels).values;
    CHECK(at::equal(std::get<data::SoftLabels>(baseline.labels).values, values));
    return values;
  };
  const Tensor voted = labels_by({"--vote", "priors", "--priors", "80,60"});
  CHECK_FALSE(at::equal(voted, labels_by({})));

  auto silent = storage::read_set(workspace.path("voted.h5"));
  std::get<data::SoftLabels>(silent.labels).recipe.clear();
  auto baseline = storage::read_set(workspace.path("set.h5"));
  CHECK_THROWS_WITH_TEXT(
      teachers.label({"random", baseline, {}}, silent, protocol, dataset, program), ConfigError,
      "the set does not say how its images were labelled");
}

namespace {

/// Requests a stop once so many views are done, and notes how many were when it heard first.
class StoppingTerminal : public cli::Terminal {
 public:
  StoppingTerminal(StopFlag& stop, std::int64_t enough)
      : cli::Terminal(stderr, false), stop_(stop), enough_(enough) {
    set_quiet(true);
  }
  void update(const Progress& progress) override {
    if (first == 0) first = progress.done;
    if (progress.done >= enough_) stop_.request();
  }
  std::int64_t first = 0;

 private:
  StopFlag& stop_;
  std::int64_t enough_;
};

}  // namespace

TEST_CASE("labels of a baseline's views are kept for an evaluation that is interrupted",
          "[apps][evaluate][taught]") {
  const Workspace& workspace = labelled_shapes();
  const auto dataset = datasets::open_dataset("shapes", {});
  auto recipe = train::RelabelRecipe::defaults("fkd");
  recipe.batch_size = 4;
  eval::Protocol protocol;
  protocol.labels = "views";
  data::SyntheticSet set = storage::read_set(workspace.path("labelled.h5"));
  const fs::path kept = workspace.path("kept.json.random");
  const fs::path parts = workspace.path("kept.json.random.parts");
  // By teachers of its own, as a process has them.
  const auto labelled = [&](const fs::path& path, std::int64_t enough, bool remove) {
    StopFlag stop;
    StoppingTerminal terminal(stop, enough);
    cli::Program program{terminal, stop};
    commands::StudentTeachers teachers(workspace.path("t.h5"), {}, dataset);
    data::SyntheticSet baseline = storage::read_set(workspace.path("set.h5"));
    teachers.label({"random", baseline, path}, set, protocol, dataset, program);
    std::vector<data::ViewBatch> batches;
    for (std::int64_t i = 0; i < baseline.views->batches(); ++i) {
      batches.push_back(baseline.views->batch(i));
    }
    if (remove) teachers.remove_kept();
    return std::pair(std::move(batches), terminal.first);
  };
  constexpr std::int64_t kAll = 1'000'000;
  for (const std::int64_t seed : {0, 1}) {
    recipe.epochs = protocol.epochs = 100;
    recipe.seed = seed;
    set.views = std::make_shared<data::ViewList>(train::views_info(recipe, 8, 4, {16, 16}));
    CHECK_THROWS_WITH_TEXT(labelled(kept, 50, false), Interrupted,
                           "what is done is saved in " + parts.string());
    CHECK(fs::exists(parts / "plan.cfg"));
    const auto [rest, first] = labelled(kept, kAll, false);
    CHECK(first > 50);
    const auto again = labelled(kept, kAll, seed == 1);
    CHECK(again.second == 0);
    const auto whole = labelled({}, kAll, false).first;
    REQUIRE(rest.size() == 200);
    REQUIRE(whole.size() == rest.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      CHECK(rest[i].images == whole[i].images);
      CHECK(rest[i].values.equal(whole[i].values));
      CHECK(again.first[i].values.equal(whole[i].values));
    }
    // Those of another seed are begun anew, and nothing is left in the end.
    CHECK(fs::exists(parts) == (seed == 0));
  }
}

TEST_CASE("labels of another plan are left alone where those that are asked for cannot be made",
          "[apps][evaluate][taught]") {
  const TemporaryFolder folder("retort-kept");
  const auto dataset = separable_dataset(30, 1);
  const fs::path out = folder.path() / "kept.json.random";
  const auto label = [&](const std::string& network, std::int64_t count) {
    auto recipe = train::RelabelRecipe::defaults("cv-dd");
    recipe.vote = "equal";
    recipe.epochs = 1;
    StopFlag stop;
    StoppingTerminal terminal(stop, 1000);
    cli::Program program{terminal, stop};
    const auto labeler = train::labeler_of(recipe, {fresh_member(dataset, network, 3)}, count);
    const Tensor images = dataset.batch(data::Split::Train, at::arange(count, at::kLong));
    return commands::KeptViews({.name = "random",
                                .recipe = recipe,
                                .labeler = labeler,
                                .images = images,
                                .plan = "images = " + std::to_string(count) + "\n"},
                               out, program)
        .views();
  };
  const fs::path part = train::PartsFolder::of(out) / "labels-0.h5";
  CHECK(label("ConvNet-1-BN-w8", 16) == 16);
  const std::string made = read_text(part);
  // Its last maps have a pixel, and the last batch has an image.
  CHECK_THROWS_WITH_TEXT(label("R18m-w16", 17), ConfigError, "a group of one for BatchNorm");
  REQUIRE(fs::exists(part));
  CHECK(read_text(part) == made);
  CHECK(label("ConvNet-1-BN-w8", 17) == 17);
  CHECK_FALSE(read_text(part) == made);
}

TEST_CASE("an export says which labels stay behind", "[apps][exchange][taught]") {
  const auto said = [](const std::string& set, const Words& more) {
    return labelled_shapes().succeed(joined({"export", set, "--force"}, more)).err;
  };
  CHECK_THAT(
      said("labelled.h5", {"--out", "l.npz"}),
      Contains("the labels of 16 views stay in the set file; images and classes are exported "
               "in full"));
  CHECK(said("static.h5", {"--out", "l.npz"}).empty());
  CHECK_THAT(said("static.h5", {"--out", "l.npz", "--stored"}),
             Contains("the soft labels stay in the set file"));
  CHECK(said("set.h5", {"--out", "l.npz"}).empty());
}

TEST_CASE("students who normalise otherwise than the labels were given are pointed out",
          "[apps][evaluate][taught]") {
  const auto said = [](const std::string& change) {
    return labelled_shapes()
        .succeed(evaluate("labelled.h5", "fkd-300", {"--protocol-set", change, "--no-hard"}))
        .err;
  };
  CHECK_THAT(said("epochs=1,batch-size=4"), !Contains("BatchNorm without such groups"));
  CHECK_THAT(
      said("epochs=1,batch-size=4,batch-norm-group=2"),
      Contains("labels were given with BatchNorm without such groups, students of protocol") &&
          Contains("normalise in groups of 2 views"));
}

TEST_CASE("what a protocol of teachers lacks is said before anything trains",
          "[apps][evaluate][taught][error]") {
  const auto refused = [](const Words& words, const std::string& text) {
    const auto result = labelled_shapes().retort(words);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text) && !Contains("training ConvNet"));
  };
  refused(evaluate("set.h5", "fkd-300"),
          "made by `retort relabel SET --teachers FILE --recipe fkd");
  refused(evaluate("set.h5", "rded"), "asks teachers while students train: --teachers FILE");
  refused(evaluate("labelled.h5", "fkd-300"), "come in batches of 4");
  refused(evaluate("labelled.h5", "fkd-300", {"--protocol-set", "batch-size=4"}),
          "last for 2 epochs, the training has 300");
  refused(evaluate("labelled.h5", "fkd-300", joined(kShort, {"--baselines", "random"})),
          "baselines are labelled by the teachers that labelled the set: --teachers FILE");
  refused(
      evaluate("labelled.h5", "fkd-300",
               joined(kShort, {"--baselines", "random", "--teachers", "other.h5"})),
      "trains on labels that the set holds, given by ConvNet-2-BN-w8 of t.h5. --teachers labels "
      "baselines in the same way and must be the same, found ConvNet-2-BN-w8 of 'other.h5'; "
      "name all of those");
  refused(evaluate("set.h5", "dsa-300", {"--teachers", "t.h5"}),
          "option 'teachers' changes nothing");
  refused(evaluate("set.h5", "dsa-300", {"--no-hard"}), "option 'no-hard' changes nothing");
  refused({"condense", "--method", "random", "--dataset", "shapes", "--eval-every", "1",
           "--eval-protocol", "fkd-300"},
          "which a set gets when it is finished");
}

TEST_CASE("networks are tested under attack for any protocol", "[apps][evaluate][attack]") {
  const Workspace& workspace = labelled_shapes();
  const Words words =
      joined(evaluate("set.h5", tiny_protocol(workspace)),
             {"--attack", "fgsm,pgd", "--radius", "1/255,0.1", "--attack-steps", "2"});
  const auto judged = document(words);
  const auto& robust = judged["results"][0]["robust"];
  REQUIRE(robust.size() == 4);
  CHECK(robust[0]["attack"] == "fgsm");
  CHECK(robust[0]["radius"].get<double>() == Approx(1.0 / 255));
  CHECK(robust[3]["steps"] == 2);
  CHECK(robust[3]["restarts"] == 2);
  CHECK(robust[3]["accuracy"]["mean"] <= judged["results"][0]["accuracy"]["mean"]);
  CHECK_THAT(workspace.succeed(words).out, Contains("fgsm 1/255 %") && Contains("pgd 0.1 %"));
  const auto refused = [&](const Words& more, const std::string& text) {
    const auto result =
        workspace.retort(joined(evaluate("set.h5", tiny_protocol(workspace)), more));
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
  };
  refused({"--attack", "pdg"}, "did you mean 'pgd'?");
  refused({"--attack", "pgd", "--radius", "8/0"}, "as in 8/255, found '8/0'");
  refused({"--radius", "8/255"}, "set attack as well");
}

TEST_CASE("an evaluation by teachers that is interrupted goes on to the same result",
          "[apps][evaluate][taught]") {
  const Workspace& workspace = labelled_shapes();
  const auto command = [](const std::string& out) -> Words {
    return {"evaluate",   "set.h5",    "--protocol", "rded",    "--protocol-set",
            "epochs=100", "--nets",    "MLP",        "--seeds", "0,1,2,3,4,5,6,7",
            "--teachers", "t.h5",      "--attack",   "fgsm",    "--radius",
            "0.05",       "--threads", "1",          "--out",   out};
  };
  Process running = workspace.start(command("stopped.json"));
  const fs::path part = workspace.path("stopped.json.part");
  const ProcessResult stopped = signal_when(running, SIGINT, [&] { return fs::exists(part); });
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 130);
  CHECK_THAT(workspace.succeed(command("stopped.json")).err,
             Contains("an interrupted evaluation left"));
  workspace.succeed(command("whole.json"));
  const auto result = [&](const std::string& file) {
    auto document = nlohmann::json::parse(read_text(workspace.path(file)));
    document.erase("kernels");
    for (const char* list : {"results", "hard_labels"}) {
      for (auto& entry : document[list]) entry.erase("seconds");
    }
    return document;
  };
  CHECK(result("stopped.json") == result("whole.json"));
}
