// Methods that recover images from teachers, through the program.
#include <csignal>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/storage/exchange.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// teachers.h5: two networks that know shapes; made once.
const Workspace& with_teachers() {
  static const Workspace workspace;
  static const bool made = [] {
    workspace.succeed({"teachers", "--dataset", "shapes", "--nets",
                       "ConvNet-2-BN-w8,ConvNet-1-BN-w8", "--recipe", "adam", "--lr", "0.01",
                       "--batch-size", "16", "--epochs", "6", "--threads", "1", "--out",
                       "teachers.h5"});
    return true;
  }();
  REQUIRE(made);
  return workspace;
}

/// A run of three iterations into a folder of the method's name.
Words recover(const std::string& method, const Words& more,
              const std::string& teachers = "teachers.h5") {
  return joined({"condense", "--method", method, "--dataset", "shapes", "--ipc", "4", "--teachers",
                 teachers, "--iterations", "3", "--threads", "1"},
                more);
}

Words into(const std::string& name) { return {"--run-dir", name, "--out", name + ".h5"}; }

}  // namespace

TEST_CASE("images are recovered from a teacher of a file and stored as 8-bit pixels",
          "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  const auto result =
      workspace.succeed(recover("sre2l", joined(into("sre2l"), {"--teacher-names", "0"})));
  CHECK_THAT(result.err, Contains("recovering from 1 teacher of ") && Contains("ConvNet-2-BN-w8"));
  const auto set = storage::read_set(workspace.path("sre2l.h5"));
  CHECK(set.from_bytes);
  CHECK(storage::stored_bytes(workspace.path("sre2l.h5")).images == 16 * 16 * 16);
  CHECK_THAT(result.out, Contains("size ") && Contains("images 4.1 kB, labels "));
  CHECK(set.assets.at(0).role == "teachers");
  CHECK_THAT(read_text(workspace.path("sre2l/metrics.csv")),
             Contains("iteration,loss,seconds,cross_entropy,batch_norm,prior,lr,smallest_area\n"));
  CHECK_THAT(workspace.succeed({"info", "sre2l.h5"}).out, Contains("1 network of teachers.h5"));
  CHECK(workspace.succeed({"verify", "sre2l.h5"}).exit_code == 0);
}

TEST_CASE("the paths of teachers are kept absolute, so a run repeats from anywhere",
          "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  workspace.succeed(recover("cv-dd", joined(into("voted"), {"--init", "real"})));
  CHECK_THAT(read_text(workspace.path("voted/config.cfg")),
             Contains("teachers = " + workspace.path("teachers.h5").string()));
  workspace.succeed(
      {"condense", "--config", "voted/config.cfg", "--run-dir", "again", "--out", "again.h5"});
  CHECK(at::equal(storage::read_set(workspace.path("again.h5")).images,
                  storage::read_set(workspace.path("voted.h5")).images));
}

TEST_CASE("a dry run predicts what recovering costs, and names what is missing",
          "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  const auto predicted =
      nlohmann::json::parse(workspace.succeed(recover("infer", {"--dry-run", "--json"})).out);
  CHECK(predicted["iterations"] == 3);
  CHECK(predicted["iteration_seconds"] > 0);
  const auto refused = workspace.retort(recover("sre2l", {"--dry-run"}));
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("choose one by --teacher-names"));
  const auto without = workspace.retort({"condense", "--method", "sc-dd", "--dataset", "shapes"});
  CHECK(without.exit_code == 2);
  CHECK_THAT(without.err,
             Contains("retort teachers --recipe sgd --nets ConvNet-3-BN --dataset shapes"));
}

TEST_CASE("images that a run holds out are unknown to its teachers", "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  const Words checked =
      joined(into("checked"), {"--teacher-names", "0", "--eval-every", "3", "--hold-out", "0.2",
                               "--eval-protocol", tiny_protocol(workspace)});
  const auto refused = workspace.retort(recover("sre2l", checked));
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("they may have seen the images that are held out here") &&
                              Contains("--hold-out 0.2 --out FILE"));
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8", "--recipe",
                     "adam", "--lr", "0.01", "--batch-size", "16", "--epochs", "6", "--threads",
                     "1", "--hold-out", "0.2", "--out", "held.h5"});
  workspace.succeed(recover("sre2l", checked, "held.h5"));
  const auto warned = workspace.succeed(
      recover("sre2l", joined(into("whole"), {"--teacher-names", "0"}), "held.h5"));
  CHECK_THAT(warned.err, Contains("held.h5': the teachers were trained on ") &&
                             Contains("20 % held out of the training split") &&
                             Contains("here are 400 training images"));
}

TEST_CASE("a set of compensators is shown, described and exported", "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  // Two teachers and four classes: 4 / (1 + 2 / 4) = 2 places, 4 compensators.
  workspace.succeed(recover("infer", into("infer")));
  const auto set = storage::read_set(workspace.path("infer.h5"));
  CHECK(set.images.size(0) == 8);
  CHECK(set.parameters.at("compensators").size(0) == 4);
  const auto info = workspace.succeed({"info", "infer.h5"});
  CHECK_THAT(info.out,
             Contains("compensator (copies 2): 24 training images") && Contains("compensators"));
  CHECK(workspace.succeed({"verify", "infer.h5"}).exit_code == 0);
  workspace.succeed({"show", "infer.h5", "--out", "infer.png"});
  CHECK(fs::file_size(workspace.path("infer.png")) > 0);

  workspace.succeed({"export", "infer.h5", "--out", "decoded.pt"});
  const auto decoded = storage::read_pt(workspace.path("decoded.pt"));
  CHECK(at::equal(decoded.at("images"), synth::decode(set).images));
  CHECK(decoded.at("labels").size(0) == 24);
  workspace.succeed({"export", "infer.h5", "--out", "stored.pt", "--stored"});
  const auto stored = storage::read_pt(workspace.path("stored.pt"));
  CHECK(at::equal(stored.at("images"), set.images));
  CHECK(at::equal(stored.at("compensators"), set.parameters.at("compensators")));

  const auto judged = nlohmann::json::parse(
      workspace
          .succeed({"evaluate", "infer.h5", "--protocol", tiny_protocol(workspace), "--runs", "1",
                    "--baselines", "random", "--json"})
          .out);
  CHECK(judged["decoded_images"] == 24);
  // Compensators are of the budget that a baseline has.
  CHECK(judged["baselines"][0]["method"] == "random (4 per class)");
  CHECK(judged["baselines"][0]["decoded_images"] == 16);
}

TEST_CASE("a run goes on with its teachers wherever their file is, and with no others",
          "[apps][recover][resume]") {
  const Workspace& workspace = with_teachers();
  const auto moved = workspace.path("elsewhere/moved.h5");
  fs::create_directories(moved.parent_path());
  fs::copy_file(workspace.path("teachers.h5"), workspace.path("here.h5"));
  const auto command = [](const std::string& run, const std::string& iterations) {
    return Words{"condense", "--method",     "sre2l",    "--dataset",       "shapes", "--teachers",
                 "here.h5",  "--iterations", iterations, "--teacher-names", "0",      "--threads",
                 "1",        "--run-dir",    run};
  };
  workspace.succeed(command("unmoved", "40"));
  // One iteration, then a checkpoint to go on from.
  workspace.succeed(joined(command("moving", "40"), {"--time-budget", "0.000001s"}));
  fs::rename(workspace.path("here.h5"), moved);

  // Neither a finished run nor one that gets no more time needs them where they were.
  const auto again = [&](const std::string& run) {
    return workspace
        .succeed({"condense", "--run-dir", run, "--resume", "--teachers", "elsewhere/moved.h5"})
        .err;
  };
  CHECK_THAT(again("unmoved"), Contains("this run is finished"));
  CHECK_THAT(again("moving"), Contains("its time budget ended this run after 1 iterations"));

  const Words resume{"condense", "--run-dir", "moving", "--resume", "--time-budget", "0"};
  const auto lost = workspace.retort(resume);
  CHECK(lost.exit_code == 2);
  CHECK_THAT(lost.err, Contains("there is no file '" + workspace.path("here.h5").string() + "'"));
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w8", "--recipe",
                     "adam", "--lr", "0.01", "--batch-size", "16", "--epochs", "5", "--threads",
                     "1", "--out", "others.h5"});
  const auto others = workspace.retort(joined(resume, {"--teachers", "others.h5"}));
  CHECK(others.exit_code == 2);
  CHECK_THAT(others.err, Contains("this run began with others, SHA-256 "));

  workspace.succeed(joined(resume, {"--teachers", "elsewhere/moved.h5"}));
  CHECK(at::equal(storage::read_set(workspace.path("moving/set.h5")).images,
                  storage::read_set(workspace.path("unmoved/set.h5")).images));
}

TEST_CASE("recovering that is killed goes on to the bits of a run never stopped",
          "[apps][recover][kill]") {
  const Workspace& workspace = with_teachers();
  for (const std::string method : {"cv-dd", "infer"}) {
    INFO(method);
    const auto words = [&](const std::string& run) {
      return Words{"condense",
                   "--method",
                   method,
                   "--dataset",
                   "shapes",
                   "--ipc",
                   "4",
                   "--teachers",
                   "teachers.h5",
                   "--iterations",
                   "150",
                   "--balance-statistics",
                   "--checkpoint-every",
                   "3",
                   "--threads",
                   "1",
                   "--run-dir",
                   run};
    };
    const std::string whole = method + "-whole";
    const std::string killed = method + "-killed";
    workspace.succeed(words(whole));
    {
      Process process = workspace.start(words(killed));
      const fs::path checkpoint = workspace.path(killed) / "checkpoint.h5";
      const auto left = signal_when(process, SIGKILL, [&] { return fs::exists(checkpoint); });
      REQUIRE(left.exit_code == 128 + SIGKILL);  // else it had ended before
    }
    workspace.succeed({"condense", "--run-dir", killed, "--resume"});
    const auto one = storage::read_set(workspace.path(whole) / "set.h5");
    const auto other = storage::read_set(workspace.path(killed) / "set.h5");
    CHECK(at::equal(one.images, other.images));
    CHECK(at::equal(synth::decode(one).images, synth::decode(other).images));
    for (const auto& [name, values] : one.parameters) {
      CHECK(at::equal(values, other.parameters.at(name)));
    }
  }
}

TEST_CASE("pixels that JPEG files would give back are stored on demand, and said",
          "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  workspace.succeed(recover("cv-dd", joined(into("jpeg"), {"--store", "jpeg75"})));
  CHECK_THAT(read_text(workspace.path("jpeg/config.cfg")), Contains("store = jpeg75\n"));
  CHECK_THAT(workspace.succeed({"info", "jpeg.h5"}).out,
             Contains("as a JPEG of quality 75 gives them back"));
  for (const std::string method : {"dm", "infer"}) {
    const auto refused = workspace.retort(
        {"condense", "--method", method, "--dataset", "shapes", "--store", "jpeg75"});
    CHECK(refused.exit_code == 2);
    CHECK_THAT(refused.err, Contains("'" + method + "' has none of this name") &&
                                Contains("an option of sre2l"));
  }
}

TEST_CASE("mirrored batches, mosaics to start from and committees under a curriculum run whole",
          "[apps][recover]") {
  const Workspace& workspace = with_teachers();
  const auto images = [&](const std::string& name, const std::string& method, const Words& more) {
    workspace.succeed(recover(method, joined(into(name), more)));
    const auto set = storage::read_set(workspace.path(name + ".h5"));
    CHECK(set.images.size(0) == 16);
    CHECK(set.from_bytes);
    return set.images;
  };
  const Words one{"--teacher-names", "0", "--lr-images", "0.1"};
  const Tensor plain = images("plain", "sre2l", one);
  REQUIRE(at::equal(images("plain-again", "sre2l", one), plain));
  // FYI: twice the batch, so another gradient from the same start.
  CHECK_FALSE(at::equal(images("mirrored", "sre2l", joined(one, {"--flip", "both"})), plain));
  // Mosaics of 2 x 2 crops.
  const Words mosaic{"--init", "mosaic", "--mosaic", "2", "--crop-images", "20", "--crops", "2"};
  CHECK_FALSE(at::equal(images("mosaics", "sre2l", joined(one, mosaic)), plain));
  // CV-DD by CDA's curriculum, from the whole image to a tenth of it.
  images("voted-cda", "cv-dd", joined(mosaic, {"--curriculum", "cosine", "--crop-area", "0.1"}));
  CHECK_THAT(read_text(workspace.path("voted-cda/metrics.csv")), Contains(",1\n"));
  CHECK_THAT(workspace.succeed({"info", "voted-cda.h5"}).out,
             Contains("2 networks of teachers.h5"));
}
