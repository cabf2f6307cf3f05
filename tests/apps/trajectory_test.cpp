// Methods that follow experts, and where these come from.
#include <csignal>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/set_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// Two iterations along experts that are followed to epoch 3.
Words following(const std::string& method, const Words& more) {
  const Words run{"condense",
                  "--method",
                  method,
                  "--dataset",
                  "shapes",
                  "--images-per-class",
                  "8",
                  "--iterations",
                  "2",
                  "--lr-lr",
                  "0",
                  "--net",
                  "ConvNet-2-w8",
                  "--lr-images",
                  "1",
                  "--syn-steps",
                  "2",
                  "--threads",
                  "1"};
  return joined(joined(run, {"--max-start-epoch", "2", "--expert-epochs", "2"}), more);
}

Words mtt(const Words& more) { return following("mtt", more); }

/// Such experts in `file`.
void make_experts(const Workspace& workspace, const std::string& file, const Words& more = {}) {
  workspace.succeed(
      joined({"experts", "--dataset", "shapes", "--images-per-class", "8", "--net", "ConvNet-2-w8",
              "--count", "2", "--epochs", "3", "--threads", "1", "--out", file},
             more));
}

/// Of a run that makes such experts itself.
Words own_experts(const Words& more) {
  return joined(mtt({"--make-experts", "2", "--make-epochs", "3"}), more);
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

/// The only thing in a folder.
fs::path file_in(const fs::path& folder) {
  const auto files = files_in(folder);
  REQUIRE(files.size() == 1);
  return files.front();
}

Tensor images_of(const fs::path& set) { return storage::read_set(set).images; }

}  // namespace

TEST_CASE("a set says which experts it was made with, and what they cost",
          "[apps][experts][condense]") {
  const Workspace workspace;
  make_experts(workspace, "e.h5");
  workspace.succeed(mtt({"--experts", "e.h5", "--run-dir", "run"}));
  const storage::ExpertReader experts(workspace.path("e.h5"));

  const auto text = workspace.succeed({"info", "run/set.h5"});
  const auto file = workspace.succeed({"info", "e.h5"});
  CHECK_THAT(file.out, Contains("SHA-256") && Contains(experts.sha256()));
  CHECK_THAT(text.out, Contains("2 networks of e.h5, SHA-256 " + experts.sha256().substr(0, 16)) &&
                           Contains("..., id") && Contains(experts.id().substr(0, 16) + "...;") &&
                           Contains("sgd, ConvNet-2-w8 on 32 images"));
  const auto json = workspace.succeed({"info", "run/set.h5", "--json"});
  const auto document = nlohmann::json::parse(json.out);
  REQUIRE(document["assets"].size() == 1);
  const auto asset = document["assets"][0];
  CHECK(asset["role"] == "experts");
  CHECK(asset["file"] == "e.h5");
  CHECK(asset["id"] == experts.id());
  CHECK(asset["sha256"] == experts.sha256());
  CHECK(asset["count"] == 2);
  CHECK(asset["wall_seconds"] > 0.0);
  CHECK_THAT(asset["note"].get<std::string>(), Contains("3 epochs"));
  CHECK(workspace.succeed({"verify", "run/set.h5"}).exit_code == 0);
}

TEST_CASE("a run that is given no experts makes them beside its folder, the next one follows them",
          "[apps][experts][condense]") {
  const Workspace workspace;
  const auto made = workspace.succeed(own_experts({"--run-dir", "runs/a/"}));
  CHECK_THAT(made.err, Contains("follows 2 experts of recipe sgd to epoch 3; runs/experts/sgd-") &&
                           Contains("is not there yet") &&
                           Contains("made first: 2 experts, 3 epochs each, predicted to take") &&
                           Contains("count neither as condensing nor against --time-budget") &&
                           Contains("--make-experts N asks for another number") &&
                           Contains("retort condense --run-dir runs/a/ --resume goes on") &&
                           Contains("expert 1: epoch 3 of 3") && !Contains("test loss"));
  CHECK_THAT(made.out, Contains("experts") && Contains(", 2 made now in"));
  CHECK_THAT(read_text(workspace.path("runs/a/log.txt")), Contains("expert 1: epoch 3 of 3"));
  CHECK_THAT(read_text(workspace.path("runs/a/config.cfg")), Contains("experts = \n") &&
                                                                 Contains("make-experts = 2\n") &&
                                                                 Contains("make-epochs = 3\n"));

  // The file is what the command of its own makes.
  make_experts(workspace, "e.h5");
  const std::string id = storage::ExpertReader(workspace.path("e.h5")).id();
  const fs::path file = file_in(workspace.path("runs/experts"));
  CHECK(file.filename() == "sgd-shapes-ConvNet-2-w8-3epochs-seed0-" + id.substr(0, 8) + ".h5");
  CHECK(storage::ExpertReader(file).id() == id);
  const auto set = storage::read_set(workspace.path("runs/a/set.h5"));
  REQUIRE(set.assets.size() == 1);
  CHECK(set.assets[0].id == id);
  CHECK(set.assets[0].file == file.filename());
  CHECK(set.assets[0].wall_seconds > 0);

  const std::string before = read_text(file);
  const auto next = workspace.succeed(own_experts({"--run-dir", "runs/b", "--json"}));
  CHECK_THAT(next.err, Contains("experts of an earlier run are followed: runs/experts/sgd-") &&
                           !Contains("made first"));
  const auto document = nlohmann::json::parse(next.out);
  CHECK(document["experts"]["count"] == 2);
  CHECK(document["experts"]["made"] == 0);
  CHECK(workspace.path(document["experts"]["file"]) == file);
  CHECK(read_text(file) == before);
  CHECK(at::equal(set.images, images_of(workspace.path("runs/b/set.h5"))));
  workspace.succeed(mtt({"--experts", "e.h5", "--run-dir", "runs/c"}));
  CHECK(at::equal(set.images, images_of(workspace.path("runs/c/set.h5"))));

  // Finished runs need none.
  fs::remove_all(workspace.path("runs/experts"));
  CHECK(workspace.succeed({"condense", "--run-dir", "runs/a", "--resume"}).exit_code == 0);
  CHECK_FALSE(fs::exists(workspace.path("runs/experts")));
  // The configuration makes them again.
  workspace.succeed({"condense", "--config", "runs/a/config.cfg", "--run-dir", "elsewhere/d"});
  CHECK(at::equal(set.images, images_of(workspace.path("elsewhere/d/set.h5"))));
  CHECK(storage::ExpertReader(file_in(workspace.path("elsewhere/experts"))).id() == id);
}

TEST_CASE("more experts are made beside those that are there, and fewer are the first of them",
          "[apps][experts][condense]") {
  const Workspace workspace;
  const auto run = [&](const std::string& count, const std::string& name) {
    return workspace.succeed(mtt({"--make-experts", count, "--make-epochs", "3", "--experts-dir",
                                  "pool", "--run-dir", name}));
  };
  run("1", "one");
  const auto more = run("3", "three");
  CHECK_THAT(more.err, Contains("has 1\n") && Contains("made first: 2 experts"));
  const fs::path file = file_in(workspace.path("pool"));
  CHECK(storage::ExpertReader(file).experts() == 3);
  CHECK_THAT(read_text(workspace.path("one/config.cfg")),
             Contains("experts-dir = " + workspace.path("pool").string() + "\n"));
  CHECK_THAT(run("1", "again").err, !Contains("made first"));
  CHECK(at::equal(images_of(workspace.path("one/set.h5")),
                  images_of(workspace.path("again/set.h5"))));
  CHECK(storage::read_set(workspace.path("again/set.h5")).assets.at(0).count == 1);
  CHECK_FALSE(at::equal(images_of(workspace.path("one/set.h5")),
                        images_of(workspace.path("three/set.h5"))));
  const auto lacking = workspace.retort(
      mtt({"--experts", file.string(), "--experts-count", "4", "--run-dir", "four"}));
  CHECK(lacking.exit_code == 2);
  CHECK_THAT(lacking.err, Contains("option 'experts-count': expected at most 3, the complete") &&
                              Contains(", found 4"));
}

TEST_CASE("a dry run says which experts would be made, and makes none",
          "[apps][experts][condense]") {
  const Workspace workspace;
  const auto text = workspace.succeed(own_experts({"--dry-run"}));
  CHECK_THAT(text.out,
             Contains("2 to be made first, ") && Contains("into runs/experts/sgd-shapes"));
  const auto document =
      nlohmann::json::parse(workspace.succeed(own_experts({"--dry-run", "--json"})).out);
  CHECK(document["experts"]["count"] == 2);
  CHECK(document["experts"]["missing"] == 2);
  CHECK(document["experts"]["seconds"] > 0.0);
  CHECK_FALSE(fs::exists(workspace.path("runs")));

  workspace.succeed(own_experts({"--run-dir", "runs/a"}));
  CHECK_THAT(workspace.succeed(own_experts({"--dry-run"})).out,
             Contains("2 experts of runs/experts/sgd-shapes"));
  make_experts(workspace, "e.h5");
  const auto given = workspace.succeed(mtt({"--dry-run", "--json", "--experts", "e.h5"}));
  CHECK(nlohmann::json::parse(given.out)["experts"].is_null());
}

TEST_CASE("a dry run finds what is wrong with given experts", "[apps][experts][condense]") {
  const Workspace workspace;
  make_experts(workspace, "e.h5");
  const auto refused = [&](const Words& words, const std::string& text) {
    const auto result =
        workspace.retort(joined({"condense", "--method", "mtt", "--dataset", "shapes",
                                 "--images-per-class", "8", "--expert-epochs", "2", "--dry-run"},
                                words));
    INFO(result.err);
    CHECK(result.exit_code != 0);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(text));
  };
  const Words net{"--net", "ConvNet-2-w8"};
  const Words few{"--max-start-epoch", "2"};
  refused(joined({"--experts", "none.h5"}, joined(net, few)), "there is no file '");
  write_text(workspace.path("text.h5"), "not experts");
  refused(joined({"--experts", "text.h5"}, joined(net, few)), "text.h5'");
  refused(joined({"--experts", "e.h5", "--net", "ConvNet-2-w16"}, few),
          "network: expected 'ConvNet-2-w16', found 'ConvNet-2-w8'");
  refused(joined({"--experts", "e.h5", "--max-start-epoch", "9"}, net), "epoch");
  refused(joined({"--current-max-start-epoch", "1"}, joined(net, few)), "set expansion-end");
  CHECK_FALSE(fs::exists(workspace.path("runs")));
}

TEST_CASE("experts that have learned nothing are named when they are made and followed",
          "[apps][experts][condense]") {
  const Workspace workspace;
  const Words make{"experts",
                   "--dataset",
                   "shapes",
                   "--images-per-class",
                   "8",
                   "--net",
                   "ConvNet-2-w8",
                   "--count",
                   "1",
                   "--epochs",
                   "10",
                   "--threads",
                   "1",
                   "--test-every",
                   "0"};
  const auto still = workspace.succeed(joined(make, {"--lr", "1e-9", "--out", "still.h5"}));
  CHECK_THAT(still.err, Contains("experts that have learned nothing: 0 (loss "));
  const auto followed = workspace.succeed(mtt({"--dry-run", "--experts", "still.h5"}));
  CHECK_THAT(followed.err, Contains("has experts that had learned nothing after their last epoch"));
  const auto well = workspace.succeed(joined(make, {"--lr", "0.05", "--out", "well.h5"}));
  CHECK_THAT(well.err, !Contains("learned nothing"));
}

TEST_CASE("every method makes experts by its own recipe", "[apps][experts][condense]") {
  const Workspace workspace;
  const auto file_of = [&](const std::string& method, const Words& more) {
    const Words own{"--make-experts", "2", "--make-epochs", "3", "--experts-dir", method};
    workspace.succeed(following(method, joined(joined(own, more), {"--run-dir", "run-" + method})));
    return storage::ExpertReader(file_in(workspace.path(method)));
  };
  CHECK(file_of("tesla", {}).info().recipe == "sgd");
  const auto flat = file_of("ftd", {"--make-settings", "gsam-alpha=1,batch-size=16"});
  CHECK(flat.info().recipe == "gsam");
  CHECK_THAT(flat.info().options, Contains("gsam-alpha = 1\n") && Contains("batch-size = 16\n"));
  CHECK(file_of("datm", {"--current-max-start-epoch", "1"}).info().recipe == "gsam");
  CHECK(file_of("ast", {}).info().recipe == "ast");
}

TEST_CASE("experts see no image that a run holds out", "[apps][experts][condense]") {
  const Workspace workspace;
  tiny_protocol(workspace);
  const auto made =
      workspace.succeed(own_experts({"--eval-every", "1", "--eval-protocol", "./tiny.cfg",
                                     "--hold-out", "0.25", "--seed", "3", "--run-dir", "run"}));
  CHECK_THAT(made.err, !Contains("another part"));
  const storage::ExpertReader experts(file_in(workspace.path("experts")));
  CHECK(experts.info().train_images == 24);
  CHECK_THAT(experts.info().dataset_note, Contains("held out"));
  CHECK_THAT(experts.path().filename().string(), Contains("-seed3-"));
}

TEST_CASE("a run that is stopped while it makes experts goes on with them",
          "[apps][experts][condense][resume]") {
  const Workspace workspace;
  const auto command = [](const std::string& pool, const std::string& run) {
    return mtt(
        {"--make-experts", "2", "--make-epochs", "300", "--experts-dir", pool, "--run-dir", run});
  };
  workspace.succeed(command("whole", "run-whole"));
  for (const int number : {SIGKILL, SIGINT}) {
    const Words words = number == SIGKILL ? command("pool", "run")
                                          : Words{"condense", "--run-dir", "run", "--resume"};
    Process running = workspace.start(words);
    const auto under_way = [&] {
      for (const auto& folder : files_in(workspace.path("pool"))) {
        const fs::path part = folder / (number == SIGKILL ? "expert-0.h5" : "expert-1.h5");
        if (fs::exists(part) && storage::read_expert_summary(part).experts[0].log.size() > 1) {
          return true;
        }
      }
      return false;
    };
    const ProcessResult stopped = signal_when(running, number, under_way);
    INFO(stopped.err);
    REQUIRE(stopped.exit_code == (number == SIGKILL ? 128 + SIGKILL : 130));
    if (number == SIGINT) {
      CHECK_THAT(stopped.err, Contains("training experts was interrupted; 1 of 2 experts are "
                                       "finished, the others are saved in ") &&
                                  Contains("go on with retort condense --run-dir run --resume"));
    }
  }
  const auto resumed = workspace.succeed({"condense", "--run-dir", "run", "--resume"});
  CHECK_THAT(resumed.err, Contains("expert 1 goes on after"));
  CHECK(file_in(workspace.path("pool")).extension() == ".h5");
  CHECK(at::equal(images_of(workspace.path("run/set.h5")),
                  images_of(workspace.path("run-whole/set.h5"))));
}

TEST_CASE("a run that asks for fewer than an unfinished one makes only these",
          "[apps][experts][condense][resume]") {
  const Workspace workspace;
  const auto command = [](const std::string& count, const std::string& run) {
    return mtt({"--make-experts", count, "--make-epochs", "300", "--experts-dir", "pool",
                "--run-dir", run});
  };
  Process running = workspace.start(command("4", "four"));
  const auto under_way = [&] {
    const auto folders = files_in(workspace.path("pool"));
    return !folders.empty() && fs::exists(folders.front() / "expert-0.h5");
  };
  const ProcessResult stopped = signal_when(running, SIGINT, under_way);
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 130);
  CHECK_THAT(stopped.err, Contains("0 of 4 experts are finished"));

  const auto planned = nlohmann::json::parse(
      workspace.succeed(joined(command("2", "two"), {"--dry-run", "--json"})).out);
  CHECK(planned["experts"]["missing"] == 2);
  const auto two = workspace.succeed(command("2", "two"));
  CHECK_THAT(two.err, Contains("follows 2 experts") && Contains("is not there yet") &&
                          Contains("made first: 2 experts") && Contains("training 2 experts") &&
                          Contains("expert 1: epoch 300 of 300") && !Contains("expert 2"));
  CHECK(storage::read_set(workspace.path("two/set.h5")).assets.at(0).count == 2);
  fs::path file;
  for (const auto& path : files_in(workspace.path("pool"))) {
    if (fs::is_regular_file(path)) file = path;
  }
  REQUIRE_FALSE(file.empty());
  CHECK(storage::ExpertReader(file).experts() == 2);

  const auto four = workspace.succeed({"condense", "--run-dir", "four", "--resume"});
  CHECK_THAT(four.err, Contains("has 2") && Contains("made first: 2 experts"));
  CHECK(file_in(workspace.path("pool")) == file);
  CHECK(storage::ExpertReader(file).experts() == 4);
}

TEST_CASE("two runs at once make the experts of both once", "[apps][experts][condense]") {
  const Workspace workspace;
  const auto command = [](const std::string& run) {
    return mtt({"--make-experts", "4", "--make-epochs", "30", "--run-dir", run});
  };
  Process one = workspace.start(command("runs/one"));
  const Workspace beside;  // outputs of the second go elsewhere
  Process other = beside.start(command(workspace.path("runs/other").string()));
  const auto first = one.wait();
  const auto second = other.wait();
  INFO(first.err << second.err);
  CHECK(first.exit_code == 0);
  CHECK(second.exit_code == 0);
  CHECK(storage::ExpertReader(file_in(workspace.path("runs/experts"))).experts() == 4);
  CHECK(at::equal(images_of(workspace.path("runs/one/set.h5")),
                  images_of(workspace.path("runs/other/set.h5"))));
}

TEST_CASE("what cannot be said of experts is refused, and nothing is left",
          "[apps][experts][condense]") {
  const Workspace workspace;
  make_experts(workspace, "e.h5");
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(joined(words, {"--run-dir", "run"}));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
    CHECK_FALSE(fs::exists(workspace.path("run")));
    CHECK_FALSE(fs::exists(workspace.path("experts")));
  };
  check(mtt({"--experts", "none.h5"}), "option 'experts': there is no file '" +
                                           workspace.path("none.h5").string() +
                                           "'. This makes one, with the options of --dataset");
  check(mtt({"--experts", "none.h5"}),
        "retort experts --recipe sgd --dataset shapes --net "
        "ConvNet-2-w8 --epochs 50 --count 5 --out " +
            workspace.path("none.h5").string());
  check(mtt({"--make-epochs", "2"}), "make-epochs 2: this run follows experts to epoch 3");
  check(mtt({"--experts", "e.h5", "--make-epochs", "3"}), "changes nothing");
  check(mtt({"--experts", "e.h5", "--make-experts", "3"}), "changes nothing");
  check(mtt({"--experts-count", "3"}), "changes nothing while experts is not given");
  check(own_experts({"--make-settings", "gsam-alpha=1"}),
        "option 'make-settings': unknown option 'gsam-alpha'");
  check(own_experts({"--make-settings", "epochs=1"}), "said by --make-epochs");
  check(own_experts({"--make-settings", "lr"}), "name=value");
  check({"condense", "--method", "mtt", "--dataset", "shapes", "--net", "ConvNet-2-BN-w8"},
        "has BatchNorm");
}
