// evaluate, and the documents of every command, on a set of shapes.
#include <csignal>

#include <nlohmann/json.hpp>

#include "apps/commands/result_place.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "lib/storage/state_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TEST_CASE("a set is evaluated beside its baselines", "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  const std::string protocol = tiny_protocol(workspace);
  const auto result =
      workspace.succeed({"evaluate", "set.h5", "--protocol", protocol, "--seeds", "4,5",
                         "--baselines", "random", "--threads", "1", "--out", "e.json", "--json"});
  CHECK(read_text(workspace.path("e.json")) == result.out);
  const auto document = nlohmann::json::parse(result.out);
  CHECK(document["schema"] == "retort.evaluation/1");
  CHECK(document["set"] == "set.h5");
  CHECK(document["set_sha256"] == sha256_file(workspace.path("set.h5")));
  CHECK(document["dataset_sha256"] ==
        storage::read_set(workspace.path("set.h5")).provenance.dataset_sha256);
  CHECK(document["seeds"] == std::vector<int>{4, 5});
  REQUIRE(document["results"].size() == 1);
  const auto& network = document["results"][0];
  CHECK(network["network"] == "ConvNet-2-w8");
  CHECK(network["accuracy"]["runs"].size() == 2);
  CHECK(network["per_class"].size() == 4);
  CHECK(document["bytes"]["images"] == 8 * 16 * 16);  // as 8-bit pixels
  REQUIRE(document["baselines"].size() == 1);
  // The set is itself the choice that the baseline makes: same images, same networks.
  CHECK(document["baselines"][0]["method"] == "random");
  CHECK(document["baselines"][0]["bytes"]["images"] == 8 * 16 * 16);
}

TEST_CASE("a baseline chosen by features is the set that condense chooses", "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  const std::string protocol = tiny_protocol(workspace);
  const std::vector<std::string> names{"k-means", "herding", "k-center"};
  const std::vector<std::string> few{"--images-per-class", "8", "--threads", "1"};
  const auto judge = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "evaluate");
    words.insert(words.end(), {"--protocol", protocol, "--json"});
    words.insert(words.end(), few.begin(), few.end());
    const auto result = workspace.succeed(words);
    return nlohmann::json::parse(result.out);
  };
  const auto document = judge({"set.h5", "--baselines", "k-means,herding,k-center"});
  REQUIRE(document["baselines"].size() == names.size());
  std::vector<Tensor> chosen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    INFO(names[i]);
    std::vector<std::string> words{"condense", "--method", names[i], "--dataset",     "shapes",
                                   "--ipc",    "2",        "--out",  names[i] + ".h5"};
    words.insert(words.end(), few.begin(), few.end());
    const auto made = workspace.succeed(words);
    chosen.push_back(storage::read_set(workspace.path(names[i] + ".h5")).images);
    const auto own = judge({names[i] + ".h5"})["results"][0];
    const auto& baseline = document["baselines"][i];
    CHECK(baseline["method"] == names[i]);
    CHECK(baseline["accuracy"]["runs"].size() == 2);
    CHECK(baseline["accuracy"] == own["accuracy"]);
    CHECK(baseline["confusion"] == own["confusion"]);
  }
  CHECK_FALSE(at::equal(chosen[0], chosen[1]));
  CHECK_FALSE(at::equal(chosen[1], chosen[2]));
  CHECK_FALSE(at::equal(chosen[2], chosen[0]));
}

TEST_CASE("evaluating in a run folder leaves evaluation.json there", "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  const auto result = workspace.succeed(
      {"evaluate", "run/set.h5", "--protocol", tiny_protocol(workspace), "--runs", "1"});
  CHECK_THAT(result.out, Contains("tiny") && Contains("ConvNet-2-w8"));
  CHECK(fs::exists(workspace.path("run/evaluation.json")));
}

TEST_CASE("a set is tested on training images only if it was made without them",
          "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  const Words judge{"evaluate",   "",
                    "--protocol", tiny_protocol(workspace),
                    "--runs",     "1",
                    "--threads",  "1",
                    "--json",     "--baselines",
                    "random",     "--hold-out",
                    "0.25"};
  const auto words = [&](const std::string& set) {
    Words all = judge;
    all[1] = set;
    return all;
  };
  const auto refused = workspace.retort(words("set.h5"));
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("option 'hold-out': the set was condensed from all training "
                                   "images, those that would be tested on among them; condense it "
                                   "with --eval-every N --hold-out 0.25"));
  workspace.succeed({"condense", "--method", "random", "--dataset", "shapes", "--ipc", "2",
                     "--eval-every", "5", "--hold-out", "0.25", "--threads", "1", "--out",
                     "without.h5"});
  const auto document = nlohmann::json::parse(workspace.succeed(words("without.h5")).out);
  CHECK(document["tested_on"] == "held-out training images");
  // A quarter of 100 images of each of 4 classes.
  std::int64_t tested = 0;
  for (const auto& row : document["results"][0]["confusion"]) {
    for (const auto& count : row) tested += count.get<std::int64_t>();
  }
  CHECK(tested == 4 * 25);
  // The baseline too is chosen from the others: the set is the choice that it makes.
  CHECK(document["baselines"][0]["accuracy"] == document["results"][0]["accuracy"]);
}

TEST_CASE("a set is not evaluated on a dataset that does not fit", "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  const auto other = workspace.retort({"evaluate", "set.h5", "--dataset", "shapes-rgb"});
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("'shapes-rgb' has images of 3x16x16, the set of 1x16x16"));
  const auto packed = workspace.retort({"evaluate", "set.h5", "--baselines", "random-packed"});
  CHECK(packed.exit_code == 2);
  CHECK_THAT(packed.err, Contains("packed baselines are for multi-formation sets"));
  const auto network = workspace.retort({"evaluate", "set.h5", "--nets", "ConvNet-9"});
  CHECK(network.exit_code == 2);
  CHECK_THAT(network.err, Contains("ConvNet-9"));
  const auto no_baseline = workspace.retort(
      {"evaluate", "set.h5", "--baselines", "dm", "--protocol", tiny_protocol(workspace)});
  CHECK(no_baseline.exit_code == 2);
  CHECK_THAT(no_baseline.err, Contains("'dm' is no baseline") && !Contains("training ConvNet"));
  const auto needs_file = workspace.retort({"evaluate", "missing.h5", "--baselines", "rded"});
  CHECK(needs_file.exit_code == 2);
  CHECK_THAT(needs_file.err, Contains("'rded' is no baseline: expected a method that selects real "
                                      "images and needs no file, one of random, herding, k-center, "
                                      "k-means"));
}

TEST_CASE("a set whose classes or preprocessing are not the dataset's is refused",
          "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  data::SyntheticSet set = storage::read_set(workspace.path("set.h5"));
  std::swap(set.provenance.class_names[1], set.provenance.class_names[3]);
  storage::write_set(workspace.path("swapped.h5"), set);
  for (const Words& dataset : {Words{}, Words{"--dataset", "shapes"}}) {
    const auto swapped = workspace.retort(joined({"evaluate", "swapped.h5"}, dataset));
    CHECK(swapped.exit_code == 2);
    CHECK_THAT(swapped.err, Contains("has other classes than the set, or another order of them: "
                                     "its class 1 is '") &&
                                Contains("' has other classes"));
  }
  const auto whitened = workspace.retort({"evaluate", "set.h5", "--zca"});
  CHECK(whitened.exit_code == 2);
  CHECK_THAT(whitened.err,
             Contains("--zca does not fit the set, whose images are preprocessed by"));
}

TEST_CASE("a set whose dataset changed since is refused until named", "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  data::SyntheticSet set = storage::read_set(workspace.path("set.h5"));
  set.provenance.dataset_sha256 = std::string(64, '0');
  storage::write_set(workspace.path("changed.h5"), set);
  const std::string protocol = tiny_protocol(workspace);
  const auto refused = workspace.retort({"evaluate", "changed.h5", "--protocol", protocol});
  CHECK(refused.exit_code == 1);
  CHECK_THAT(refused.err, Contains("is not the one the set was made from"));
  const auto named = workspace.retort(
      {"evaluate", "changed.h5", "--protocol", protocol, "--runs", "1", "--dataset", "shapes"});
  CHECK(named.exit_code == 0);
  CHECK_THAT(named.err, Contains("warning: ") && Contains("is not the one"));
  set.provenance = {};
  set.provenance.class_names = {"a", "b", "c", "d"};
  storage::write_set(workspace.path("nameless.h5"), set);
  const auto nameless = workspace.retort({"evaluate", "nameless.h5", "--protocol", protocol});
  CHECK(nameless.exit_code == 2);
  CHECK_THAT(nameless.err, Contains("give --dataset"));
}

TEST_CASE("a multi-formation set has stored and decoded images and packed baselines",
          "[apps][evaluate]") {
  const Workspace workspace;
  REQUIRE(workspace
              .retort({"condense", "--method", "random", "--factor", "2", "--dataset", "shapes",
                       "--run-dir", "run", "--out", "packed.h5"})
              .exit_code == 0);
  CHECK_THAT(workspace.retort({"info", "packed.h5"}).out,
             Contains("multi-formation (factor 2") && Contains("16 training images"));
  CHECK_THAT(workspace.retort({"show", "packed.h5"}).out,
             Contains("stored images:") && Contains("decoded images:"));
  const auto result =
      workspace.succeed({"evaluate", "packed.h5", "--protocol", tiny_protocol(workspace), "--runs",
                         "1", "--baselines", "random-packed", "--json"});
  const auto document = nlohmann::json::parse(result.out);
  CHECK(document["decoded_images"] == 16);
  CHECK(document["baselines"][0]["method"] == "random packed 2x2");
  // Same rule, same seed: the baseline of a packed random set is that set.
  CHECK(document["baselines"][0]["accuracy"] == document["results"][0]["accuracy"]);
}

TEST_CASE("an output that cannot be written is refused before anything is trained",
          "[apps][evaluate]") {
  const Workspace workspace;
  fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
  fs::create_directory(workspace.path("folder"));
  const ProcessResult evaluated = workspace.retort(
      {"evaluate", "set.h5", "--protocol", tiny_protocol(workspace), "--out", "folder"});
  CHECK(evaluated.exit_code == 1);
  CHECK_THAT(evaluated.err, Contains("'folder': is a folder"));
  CHECK(evaluated.out.empty());
  const ProcessResult condensed = workspace.retort({"condense", "--method", "random", "--dataset",
                                                    "shapes", "--run-dir", "r", "--out", "folder"});
  CHECK(condensed.exit_code == 1);
  CHECK_THAT(condensed.err, Contains("'folder': is a folder"));
  CHECK_FALSE(fs::exists(workspace.path("r") / "set.h5"));
}

TEST_CASE("an interrupted evaluation goes on from its finished networks to the same result",
          "[apps][evaluate]") {
  const Workspace workspace;
  fs::copy_file(condensed_shapes().path("set.h5"), workspace.path("set.h5"));
  write_text(workspace.path("long.cfg"),
             "source = for tests\nepochs = 200\nschedule = steps\nnet = ConvNet-2-w8\n");
  const auto command = [](const std::string& out) {
    return std::vector<std::string>{
        "evaluate",        "set.h5",      "--protocol",      "long.cfg",  "--seeds",
        "0,1,2,3,4,5,6,7", "--baselines", "random",          "--threads", "1",
        "--out",           out,           "--baseline-seed", "3"};
  };
  Process running = workspace.start(command("stopped.json"));
  const fs::path part = workspace.path("stopped.json.part");
  const ProcessResult stopped = signal_when(running, SIGINT, [&] { return fs::exists(part); });
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 130);
  CHECK_THAT(stopped.err, Contains("finished networks are kept in stopped.json.part"));
  CHECK_FALSE(fs::exists(workspace.path("stopped.json")));
  // What belongs to another evaluation, or is not understood, is left alone.
  auto kept = nlohmann::json::parse(read_text(part));
  auto other = kept["runs"][0];
  other["key"] = "of another set";
  other["last"] = -1;
  kept["runs"].insert(kept["runs"].begin(), {other, "nonsense", nlohmann::json::object()});
  write_text(part, kept.dump());

  const ProcessResult resumed = workspace.succeed(command("stopped.json"));
  CHECK_THAT(resumed.err, Contains("an interrupted evaluation left"));
  CHECK_FALSE(fs::exists(part));
  REQUIRE(workspace.retort(command("whole.json")).exit_code == 0);
  const auto results = [&](const std::string& file) {
    auto document = nlohmann::json::parse(read_text(workspace.path(file)));
    document.erase("kernels");
    for (const char* list : {"results", "baselines"}) {
      for (auto& entry : document[list]) entry.erase("seconds");
    }
    return document;
  };
  CHECK(results("stopped.json") == results("whole.json"));
}

TEST_CASE("a result of another protocol or of other networks in the run folder is kept",
          "[apps][evaluate]") {
  const Workspace workspace;
  REQUIRE(workspace
              .retort({"condense", "--method", "random", "--dataset", "shapes", "--run-dir", "run"})
              .exit_code == 0);
  const fs::path usual = workspace.path("run/evaluation.json");
  const std::string other = R"({"protocol": "dsa", "results": [{"network": "ConvNet-3"}]})";
  write_text(usual, other);
  const auto evaluate = [&](const Words& more = {}) {
    return workspace.retort(joined(
        {"evaluate", "run/set.h5", "--protocol", tiny_protocol(workspace), "--runs", "1"}, more));
  };
  const auto beside = evaluate();
  INFO(beside.err);
  REQUIRE(beside.exit_code == 0);
  CHECK_THAT(beside.err, Contains("another protocol and is kept") &&
                             Contains("written to run/evaluation-tiny.json"));
  CHECK(read_text(usual) == other);
  const auto document =
      nlohmann::json::parse(read_text(workspace.path("run/evaluation-tiny.json")));
  CHECK(document["protocol"] == "tiny");
  fs::remove(usual);
  CHECK_THAT(evaluate().err, Contains("written to run/evaluation.json"));
  CHECK_THAT(evaluate().err, Contains("written to run/evaluation.json"));

  const std::string kept = read_text(usual);
  const auto networks = evaluate({"--nets", "MLP"});
  CHECK_THAT(networks.err, Contains("other networks or augmentations and is kept") &&
                               Contains("written to run/evaluation-tiny-MLP.json"));
  CHECK(read_text(usual) == kept);
}

TEST_CASE("a result of other seeds or with baselines that the new one lacks is kept",
          "[apps][evaluate]") {
  const commands::MeasuredBy few{
      .protocol = "dsa", .tested_on = "test", .nets = {"MLP"}, .seeds = {0}};
  commands::MeasuredBy more = few;
  more.seeds = {0, 1};
  more.baselines = {"random"};
  CHECK(more.covers(few));
  CHECK_FALSE(few.covers(more));
  commands::MeasuredBy other = few;
  other.seeds = {3, 4, 5};
  CHECK_FALSE(other.covers(few));
  const Workspace workspace;
  write_text(workspace.path("config.cfg"), "");
  const std::string set = workspace.path("set.h5").string();
  const auto place = [&](const commands::MeasuredBy& mine) {
    return commands::evaluation_in_run_folder(set, mine);
  };
  const auto write = [&](const std::string& seeds, const std::string& baselines) {
    return R"({"protocol": "dsa", "tested_on": "test", "seeds": [)" + seeds +
           R"(], "results": [{"network": "MLP"}], "baselines": [)" + baselines + "]}";
  };
  write_text(place(few), write("0", R"({"method": "random"})"));
  CHECK(place(more).filename() == "evaluation.json");
  CHECK(place(few).filename() == "evaluation-dsa.json");
  write_text(place(few), write("0", ""));
  CHECK(place(few).filename() == "evaluation-dsa.json");
  write_text(place(other), write("3, 4, 5", ""));
  CHECK(place(other).filename() == "evaluation-dsa-MLP.json");
  other.seeds = {7};
  CHECK(place(other).filename() == "evaluation-dsa-MLP-2.json");
}

TEST_CASE("the reference kernels compute when asked for, and the document says so",
          "[apps][evaluate]") {
  const Workspace& workspace = condensed_shapes();
  const auto kernels = [&](const std::string& choice) {
    const auto result =
        workspace.succeed({"evaluate", "set.h5", "--protocol", tiny_protocol(workspace), "--runs",
                           "1", "--threads", "1", "--json", "--kernels", choice});
    return nlohmann::json::parse(result.out)["kernels"];
  };
  const auto reference = kernels("reference");
  CHECK(reference["policy"] == "reference");
  for (const char* name : {"conv_fast", "convnet_fast", "attention_fast", "batch_norm_fast"}) {
    CHECK(reference[name] == 0);
  }
  CHECK(reference["convnet_fallback"] > 0);
  const auto fast = kernels("fast");
  CHECK(fast["policy"] == "fast");
  CHECK(fast["convnet_fast"] > 0);
  CHECK(fast["convnet_fallback"] == 0);
  CHECK(workspace.retort({"evaluate", "set.h5", "--kernels", "quick"}).exit_code == 2);
}

TEST_CASE("every command that reports has a document for programs", "[apps][json]") {
  const Workspace& workspace = condensed_shapes();
  const auto document = [&](std::vector<std::string> words) {
    words.emplace_back("--json");
    const auto result = workspace.succeed(words);
    return nlohmann::json::parse(result.out);
  };
  CHECK(document({"export", "set.h5", "--out", "json.pt"})["schema"] == "retort.export/1");
  const auto imported = document({"import", "json.pt", "--dataset", "shapes", "--out", "json.h5"});
  CHECK(imported["schema"] == "retort.import/1");
  CHECK(imported["images"] == 8);
  const auto shown = document({"show", "set.h5", "--out", "json.png"});
  CHECK(shown["schema"] == "retort.picture/1");
  CHECK(shown["clipped"]["stored"] == 0.0);
  const auto verified = document({"verify", "set.h5"});
  CHECK(verified["schema"] == "retort.verification/1");
  CHECK(verified["intact"] == true);
  const auto info = document({"info", "set.h5"});
  CHECK(info["schema"] == "retort.set-info/1");
  CHECK(info["stored_images"] == 8);
  CHECK(info["provenance"]["method"] == "random");
  storage::StateWriter state;
  state.integer("driver/next_iteration", 7);
  state.number("driver/wall_seconds", 1.5);
  state.number("driver/last_loss", 0.25);
  state.save(workspace.path("state.h5"));
  const auto checkpoint = document({"info", "state.h5"});
  CHECK(checkpoint["schema"] == "retort.state-info/1");
  CHECK(checkpoint["iterations_done"] == 7);
  const auto list = document({"list", "datasets"});
  CHECK(list["schema"] == "retort.list/1");
  CHECK(list["kind"] == "datasets");
  CHECK(list["entries"].size() > 10);
  CHECK(list["entries"][0]["name"] == "fashion-mnist");
}

TEST_CASE("results of many networks have names that file systems take, each its own",
          "[apps][evaluate]") {
  const Workspace workspace;
  const fs::path folder = workspace.path("run");
  write_text(folder / "config.cfg", "method = random\n");
  write_text(folder / "evaluation.json", "{}");
  write_text(folder / "evaluation-quick.json", "{}");
  const auto name = [&](const std::string& last) {
    commands::MeasuredBy mine{.protocol = "quick", .tested_on = "test", .nets = {}, .seeds = {0}};
    for (int i = 0; i < 20; ++i) mine.nets.push_back(str("ConvNet-2-w8-", i, ", randaugment"));
    mine.nets.push_back(last);
    return commands::evaluation_in_run_folder((folder / "set.h5").string(), mine)
        .filename()
        .string();
  };
  CHECK(name("LeNet").size() < 160);
  CHECK_THAT(name("LeNet"),
             Catch::Matchers::StartsWith("evaluation-quick-ConvNet-2-w8-0-randaugment-"));
  CHECK(name("LeNet") != name("MLP"));
}
