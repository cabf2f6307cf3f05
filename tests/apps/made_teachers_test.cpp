// Runs of the decoupled methods that are given no teachers, and so make their own.
#include <csignal>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/kernels/policy.h"
#include "lib/storage/set_file.h"
#include "lib/storage/teacher_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

Words making(const std::string& method, const std::string& nets, const std::string& epochs,
             const Words& more) {
  return joined({"condense", "--method", method, "--dataset", "shapes", "--ipc", "4",
                 "--make-teachers", nets, "--make-recipe", "adam", "--make-epochs", epochs,
                 "--make-settings", "lr=0.01,batch-size=16", "--threads", "1"},
                more);
}

Words sre2l(const Words& more) {
  return making("sre2l", "ConvNet-2-BN-w8", "5", joined({"--iterations", "2"}, more));
}

/// The only thing in a folder.
fs::path file_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  REQUIRE(files.size() == 1);
  return files.front();
}

/// Until a process has left this file of teachers in the making.
void wait_for_part(const fs::path& pool, const std::string& name) {
  const auto there = [&] {
    if (!fs::exists(pool)) return false;
    for (const auto& entry : fs::directory_iterator(pool)) {
      if (fs::exists(entry.path() / name)) return true;
    }
    return false;
  };
  wait_until(there);
}

Tensor images_of(const fs::path& set) { return storage::read_set(set).images; }

}  // namespace

TEST_CASE("a run that is given no teachers makes them beside its folder, the next one asks them",
          "[apps][teachers][condense]") {
  const Workspace workspace;
  const auto predicted = workspace.succeed(sre2l({"--dry-run"}));
  CHECK_THAT(predicted.out, Contains("1 to be made first, ") &&
                                Contains("into runs/teachers/adam-shapes-ConvNet-2-BN-w8-5epochs"));
  const auto dry = nlohmann::json::parse(workspace.succeed(sre2l({"--dry-run", "--json"})).out);
  CHECK(dry["experts"].is_null());
  CHECK(dry["teachers"]["count"] == 1);
  CHECK(dry["teachers"]["missing"] == 1);
  CHECK(dry["teachers"]["seconds"] > 0.0);
  CHECK_FALSE(fs::exists(workspace.path("runs")));

  const auto made = workspace.succeed(sre2l({"--run-dir", "runs/a/"}));
  CHECK_THAT(made.err,
             Contains("no file of teachers was given, and runs/teachers/adam-shapes-") &&
                 Contains("made first are 1 teacher of ConvNet-2-BN-w8, recipe adam, 5 epochs") &&
                 Contains("count neither as condensing nor against --time-budget") &&
                 Contains("retort condense --run-dir runs/a/ --resume goes on") &&
                 Contains("epoch 5 of 5") && !Contains("test split"));
  CHECK_THAT(made.out, Contains("1 of runs/teachers/adam-") && Contains(", 1 made now in"));
  CHECK_THAT(read_text(workspace.path("runs/a/config.cfg")),
             Contains("teachers = \n") && Contains("make-teachers = ConvNet-2-BN-w8\n") &&
                 Contains("make-epochs = 5\n"));

  // The file has what the command of its own makes.
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8", "--recipe",
                     "adam", "--lr", "0.01", "--batch-size", "16", "--epochs", "5", "--threads",
                     "1", "--out", "t.h5"});
  const fs::path file = file_in(workspace.path("runs/teachers"));
  const std::string identity = storage::TeacherReader(file).teacher(0).sha256();
  CHECK(identity == storage::TeacherReader(workspace.path("t.h5")).teacher(0).sha256());
  const auto set = storage::read_set(workspace.path("runs/a/set.h5"));
  CHECK(set.assets.at(0).file == file.filename());
  workspace.succeed({"condense", "--method", "sre2l", "--dataset", "shapes", "--ipc", "4",
                     "--iterations", "2", "--teachers", "t.h5", "--threads", "1", "--run-dir",
                     "runs/given"});
  CHECK(at::equal(set.images, images_of(workspace.path("runs/given/set.h5"))));

  const std::string before = read_text(file);
  // How images are kept in memory changes nothing of them.
  const auto next =
      workspace.succeed(sre2l({"--run-dir", "runs/b", "--json", "--image-memory", "1"}));
  CHECK_THAT(read_text(workspace.path("runs/b/config.cfg")), !Contains("image-memory"));
  CHECK_THAT(next.err,
             Contains("teachers of an earlier run are asked: ") && !Contains("made first"));
  const auto document = nlohmann::json::parse(next.out);
  CHECK(document["teachers"]["made"] == 0);
  CHECK(read_text(file) == before);
  CHECK(at::equal(set.images, images_of(workspace.path("runs/b/set.h5"))));
  CHECK_THAT(workspace.succeed(sre2l({"--dry-run"})).out, Contains("1 teacher of runs/teachers/"));
  // Another method has use for the same.
  const auto rded = workspace.succeed(
      making("rded", "ConvNet-2-BN-w8", "5",
             {"--crop-images", "10", "--crops", "2", "--run-dir", "runs/rded", "--mosaic", "1"}));
  CHECK_THAT(rded.err, Contains("teachers of an earlier run are asked: "));
  // The configuration makes them again.
  workspace.succeed({"condense", "--config", "runs/a/config.cfg", "--run-dir", "elsewhere/d"});
  CHECK(at::equal(set.images, images_of(workspace.path("elsewhere/d/set.h5"))));
  // A finished run does not mind where they are.
  fs::rename(workspace.path("runs/teachers"), workspace.path("pool"));
  CHECK_THAT(
      workspace.succeed({"condense", "--run-dir", "runs/a", "--resume", "--teachers-dir", "pool"})
          .err,
      Contains("this run is finished"));
}

TEST_CASE("methods with and without statistics of classes share their teachers",
          "[apps][teachers][condense]") {
  const Workspace workspace;
  const Words pool{"--teachers-dir", "pool"};
  workspace.succeed(sre2l(joined(pool, {"--run-dir", "without"})));
  const fs::path file = file_in(workspace.path("pool"));
  const std::string identity = storage::TeacherReader(file).teacher(0).sha256();
  CHECK(storage::TeacherReader(file).teacher(0).class_statistics.empty());
  const Words lpld = making("lpld", "ConvNet-2-BN-w8", "5", joined(pool, {"--iterations", "2"}));
  const auto added = workspace.succeed(joined(lpld, {"--run-dir", "with"}));
  CHECK_THAT(added.err, Contains("teachers of an earlier run are asked: ") &&
                            Contains("statistics of 4 classes") && !Contains("epoch 1 of 5"));
  REQUIRE(file_in(workspace.path("pool")) == file);
  CHECK(storage::TeacherReader(file).teacher(0).sha256() == identity);
  CHECK_FALSE(storage::TeacherReader(file).teacher(0).class_statistics.empty());

  // Alone it makes the same.
  workspace.succeed(making("lpld", "ConvNet-2-BN-w8", "5",
                           {"--iterations", "2", "--run-dir", "alone", "--teachers-dir", "own"}));
  CHECK(file_in(workspace.path("own")).filename() == file.filename());
  CHECK(at::equal(images_of(workspace.path("with/set.h5")),
                  images_of(workspace.path("alone/set.h5"))));
}

TEST_CASE("what a killed process has left beside finished teachers goes",
          "[apps][teachers][condense]") {
  const Workspace workspace;
  workspace.succeed(sre2l({"--run-dir", "a", "--teachers-dir", "pool"}));
  const fs::path file = file_in(workspace.path("pool"));
  const fs::path parts = file.string() + ".parts";
  const auto leave = [&](const std::string& name) {
    fs::create_directories(parts);
    write_text(parts / ".lock", "");
    write_text(parts / "plan.cfg", "lr = 0.01\n");
    if (!name.empty()) fs::copy_file(file, parts / name);
  };
  leave("teacher-0.h5");  // before the first file was removed
  workspace.succeed(sre2l({"--run-dir", "b", "--teachers-dir", "pool"}));
  CHECK_FALSE(fs::exists(parts));
  leave("");  // after the last one was
  workspace.succeed(sre2l({"--run-dir", "c", "--teachers-dir", "pool"}));
  CHECK_FALSE(fs::exists(parts));
  // Statistics have a plan of their own.
  leave("teacher-0.h5");
  workspace.succeed(making("lpld", "ConvNet-2-BN-w8", "5",
                           {"--iterations", "2", "--run-dir", "d", "--teachers-dir", "pool"}));
  CHECK_FALSE(fs::exists(parts));
  leave("checkpoint-1.h5");  // somebody's work
  workspace.succeed(sre2l({"--run-dir", "e", "--teachers-dir", "pool"}));
  CHECK(fs::exists(parts / "checkpoint-1.h5"));
}

TEST_CASE("a prediction of teachers is not counted as work of the kernels", "[apps][teachers]") {
  const Workspace workspace;
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8", "--dry-run"});
  const kernels::Counters counters = kernels::counters();
  for (const auto& [name, value] : kernels::named_counters()) {
    INFO(name);
    CHECK(counters.*value == 0);
  }
}

TEST_CASE("a run that is stopped while it makes teachers goes on with them",
          "[apps][teachers][condense][resume]") {
  const Workspace workspace;
  const auto command = [](const std::string& pool, const std::string& run) {
    return making(
        "cv-dd", "ConvNet-2-BN-w8,ConvNet-1-BN-w8", "60",
        {"--iterations", "2", "--init", "gaussian", "--teachers-dir", pool, "--run-dir", run});
  };
  workspace.succeed(command("whole", "run-whole"));
  Process running = workspace.start(command("pool", "run"));
  wait_for_part(workspace.path("pool"), "teacher-0.h5");
  running.signal(SIGINT);
  const auto stopped = running.wait();
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 130);
  CHECK_THAT(stopped.err, Contains("go on with retort condense --run-dir run --resume"));
  const auto resumed = workspace.succeed({"condense", "--run-dir", "run", "--resume"});
  CHECK_THAT(resumed.err, Contains("ConvNet-2-BN-w8 was finished before") &&
                              Contains("made first are 1 teacher of"));
  CHECK(file_in(workspace.path("pool")).extension() == ".h5");
  CHECK(at::equal(images_of(workspace.path("run/set.h5")),
                  images_of(workspace.path("run-whole/set.h5"))));
}

TEST_CASE("two runs that need the same teachers share those that the first one makes",
          "[apps][teachers][condense]") {
  const Workspace workspace;
  const auto command = [](const std::string& run) {
    return making("sre2l", "ConvNet-2-BN-w8", "120",
                  {"--iterations", "2", "--teachers-dir", "pool", "--run-dir", run});
  };
  Process first = workspace.start(command("first"));
  wait_for_part(workspace.path("pool"), "plan.cfg");
  const auto second = workspace.succeed(command("second"));
  CHECK_THAT(second.err,
             Contains("waiting for another process that works on ") && !Contains("epoch 1 of 120"));
  const auto made = first.wait();
  INFO(made.err);
  CHECK(made.exit_code == 0);
  CHECK(file_in(workspace.path("pool")).extension() == ".h5");
  CHECK(at::equal(images_of(workspace.path("first/set.h5")),
                  images_of(workspace.path("second/set.h5"))));
}

TEST_CASE("what cannot be said of teachers is refused, and nothing is left",
          "[apps][teachers][condense]") {
  const Workspace workspace;
  const auto refused = [&](const Words& words, const std::string& text) {
    for (const Words& how : {Words{}, Words{"--dry-run"}}) {
      const auto result = workspace.retort(joined(words, how));
      CHECK(result.exit_code == 2);
      CHECK_THAT(result.err, Contains(text));
      CHECK_FALSE(fs::exists(workspace.path("runs")));
    }
  };
  refused(making("sre2l", "ConvNet-2-BN-w8,ConvNet-1-BN-w8", "5", {}),
          "choose one by --teacher-names");
  refused(making("sre2l", "ConvNet-2-w8", "5", {}), "has no BatchNorm");
  refused(sre2l({"--teachers", "t.h5"}), "make-teachers");
  const auto voted = [](const Words& more) {
    return making("cv-dd", "ConvNet-2-BN-w8,ConvNet-1-BN-w8", "5",
                  joined({"--iterations", "2"}, more));
  };
  refused(voted({"--teacher-names", "0,0"}), "each once, found 0, 0");
  refused(voted({"--priors", "1,2,3"}), "expected one per teacher, 2, found 1, 2, 3");
  refused(voted({"--pair", "0,R18m"}), "no teacher of this run is 'R18m'");
  refused(voted({"--pair", "0,1"}), "is of one image per class, found ipc 4");
  refused(voted({"--crop-images", "3"}), "crop-images 3: 4 are needed");
  refused(voted({"--crop-offset", "98"}), "training images, but 102 are needed");
  refused({"condense", "--method", "infer", "--dataset", "shapes", "--ipc", "1", "--make-teachers",
           "ConvNet-2-BN-w8"},
          "ipc 1 of 4 classes has no room for the 1 compensators");
  refused(making("rded", "ConvNet-2-BN-w8", "5", {"--crop-images", "3"}),
          "crop-images 3: 4 are needed");
  refused(sre2l({"--zca"}), "whitened ones do not have");
}
