#include <csignal>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "lib/storage/views_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// Two small teachers that know `shapes`, made once.
const Workspace& taught_shapes() {
  static const Workspace workspace;
  static const bool made = [] {
    workspace.succeed({"teachers", "--dataset", "shapes", "--nets",
                       "ConvNet-2-BN-w16,ConvNet-1-BN-w16", "--epochs", "6", "--batch-size", "32",
                       "--out", "t.h5"});
    workspace.succeed({"condense", "--method", "random", "--dataset", "shapes", "--ipc", "5",
                       "--run-dir", "run", "--out", "set.h5"});
    return true;
  }();
  REQUIRE(made);
  return workspace;
}

/// The set and the teachers, in a workspace of its own.
Workspace& with_teachers(Workspace& workspace) {
  for (const char* name : {"set.h5", "t.h5"}) {
    fs::copy_file(taught_shapes().path(name), workspace.path(name));
  }
  return workspace;
}

Words relabel(const Words& more, const std::string& epochs = "6") {
  return joined({"relabel", "set.h5", "--teachers", "t.h5", "--epochs", epochs}, more);
}

/// Of all datasets, shapes and attributes. The bytes of a file also say in which second it was
/// made.
std::string digest(const fs::path& file) {
  const storage::H5Reader in(file);
  return sha256_hex(join(in.texts("manifest/sha256")) + in.text("manifest/structure"));
}

}  // namespace

TEST_CASE("relabel writes the set with labels of its views and says what they cost",
          "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const auto made = workspace.succeed(relabel({"--out", "l.h5", "--json"}));
  const json document = json::parse(made.out);
  CHECK(document["schema"] == "retort.relabel/1");
  CHECK(document["out"] == "l.h5");
  CHECK(document["images"] == 20);
  CHECK(document["views"] == 120);
  CHECK(document["labels_made"] == 120);
  CHECK(document["teachers"].size() == 2);
  CHECK_THAT(document["recipe"].get<std::string>(), Contains("recipe = fkd\nepochs = 6\n"));
  const auto bytes = storage::label_bytes(workspace.path("l.h5"));
  CHECK(document["bytes"]["label_values"] == 120 * 4 * 2);
  CHECK(document["bytes"]["label_values"] == bytes.views_values);
  CHECK(document["bytes"]["label_meta"] == bytes.views_meta);
  CHECK_THAT(made.err, Contains("labelling 120 views by recipe fkd, about "));

  const auto before = storage::read_set(workspace.path("set.h5"));
  const auto after = storage::read_set(workspace.path("l.h5"));
  CHECK(after.images.equal(before.images));
  CHECK(after.from_bytes == before.from_bytes);
  CHECK(after.class_index.equal(before.class_index));
  CHECK(data::hard_classes(after.labels).equal(data::hard_classes(before.labels)));
  CHECK(after.provenance.config == before.provenance.config);
  REQUIRE(after.views != nullptr);
  CHECK(after.views->info().recipe == document["recipe"]);
  CHECK(after.views->batches() == 6);
  CHECK(after.views->batch(5).epoch == 5);
  REQUIRE(after.assets.size() == 1);
  CHECK(after.assets[0].role == "labelers");
  CHECK(after.assets[0].count == 2);
  CHECK(after.assets[0].note == "ConvNet-2-BN-w16, ConvNet-1-BN-w16");
  const storage::H5Reader file(workspace.path("l.h5"));
  CHECK(file.text_attribute("labels", "default") == "views");
  CHECK(file.text_attribute("labels", "teacher_sha256") == after.assets[0].sha256);
  CHECK(workspace.succeed({"verify", "l.h5"}).exit_code == 0);
  CHECK_FALSE(fs::exists(workspace.path("l.h5.parts")));

  // Again, from the labelled set: what it had is replaced.
  const auto again = workspace.succeed(
      {"relabel", "l.h5", "--teachers", "t.h5", "--epochs", "6", "--out", "again.h5"});
  CHECK_THAT(again.err, Contains("120 views that the set has labels of are replaced"));
  CHECK(digest(workspace.path("again.h5")) == digest(workspace.path("l.h5")));
}

TEST_CASE("info tells of views, of their recipe and of who labelled", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  workspace.succeed(relabel({"--out", "l.h5", "--batch-size", "8", "--mix", "mixup"}));
  const std::string text = workspace.succeed({"info", "l.h5"}).out;
  CHECK_THAT(text, Contains("120 of 20 images in 6 epochs, 18 batches of up to 8, mix mixup"));
  CHECK_THAT(text, Contains("fkd, epochs 6, batch-size 8, smallest-area 0.08"));
  CHECK_THAT(text, Contains("labelers") && Contains("2 networks of t.h5"));
  const json views = json::parse(workspace.succeed({"info", "l.h5", "--json"}).out)["views"];
  CHECK(views["views"] == 120);
  CHECK(views["epochs"] == 6);
  CHECK(views["batches"] == 18);
  CHECK(views["mix"] == "mixup");
  CHECK(views["bytes"]["values"] == 120 * 4 * 2);
  CHECK_THAT(views["recipe"].get<std::string>(), Contains("batch-size = 8\n"));
  CHECK(json::parse(workspace.succeed({"info", "set.h5", "--json"}).out)["views"].is_null());
}

TEST_CASE("labels have the same bits on one thread and on two", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  for (const std::string recipe : {"fkd", "cv-dd"}) {
    INFO(recipe);
    workspace.succeed(relabel({"--recipe", recipe, "--threads", "1", "--out", "a.h5"}));
    workspace.succeed(relabel({"--recipe", recipe, "--threads", "2", "--out", "b.h5"}));
    CHECK(digest(workspace.path("a.h5")) == digest(workspace.path("b.h5")));
  }
}

TEST_CASE("a recipe of static labels leaves one per image", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const auto made = workspace.succeed(
      {"relabel", "set.h5", "--teachers", "t.h5", "--recipe", "static", "--out", "l.h5"});
  CHECK_THAT(made.out, Contains("one per image, 20"));
  const auto set = storage::read_set(workspace.path("l.h5"));
  const auto& soft = std::get<data::SoftLabels>(set.labels);
  CHECK(soft.values.size(0) == 20);
  CHECK(soft.values.size(1) == 4);
  const bool logits = soft.kind == data::SoftLabels::Kind::Logit;
  CHECK(logits);
  CHECK_FALSE(soft.learned);
  CHECK(set.views == nullptr);
  CHECK_THAT(set.assets.at(0).note, Contains("; one label per image, vote equal"));
  CHECK_THAT(soft.recipe, Contains("recipe = static\nvote = equal\n"));
  CHECK(storage::label_bytes(workspace.path("l.h5")).soft == 20 * 4 * 2);
  const auto predicted = workspace.succeed(
      {"relabel", "set.h5", "--teachers", "t.h5", "--recipe", "static", "--dry-run", "--json"});
  CHECK(json::parse(predicted.out)["bytes"]["label_values"] == 20 * 4 * 2);
  const auto wrong = workspace.retort(
      {"relabel", "set.h5", "--teachers", "t.h5", "--recipe", "static", "--epochs", "3"});
  CHECK(wrong.exit_code == 2);
  const auto grouped = workspace.retort(
      {"relabel", "set.h5", "--teachers", "t.h5", "--recipe", "static", "--batch-norm", "batch"});
  CHECK(grouped.exit_code == 2);
  CHECK_THAT(grouped.err, Contains("recipe static labels every image once and alone"));
}

TEST_CASE("labels that other teachers gave to images go when views are labelled",
          "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const auto by = [&](const std::string& set, const std::string& teacher, const Words& more) {
    return workspace.succeed(
        joined({"relabel", set, "--teachers", "t.h5", "--teacher-names", teacher}, more));
  };
  by("set.h5", "0", {"--recipe", "static", "--out", "static.h5"});
  const auto views = by("static.h5", "1", {"--epochs", "2", "--out", "views.h5"});
  CHECK_THAT(views.err,
             Contains("labels that teachers gave to the images themselves are replaced"));
  const auto set = storage::read_set(workspace.path("views.h5"));
  CHECK(std::holds_alternative<data::HardLabels>(set.labels));
  CHECK(set.views != nullptr);
  by("set.h5", "1", {"--epochs", "2", "--out", "plain.h5"});
  CHECK(digest(workspace.path("views.h5")) == digest(workspace.path("plain.h5")));

  // What a method has found is the set's own.
  auto learned = storage::read_set(workspace.path("static.h5"));
  auto& soft = std::get<data::SoftLabels>(learned.labels);
  soft.learned = true;
  soft.recipe.clear();
  storage::write_set(workspace.path("learned.h5"), learned);
  by("learned.h5", "1", {"--epochs", "2", "--out", "both.h5"});
  const auto both = storage::read_set(workspace.path("both.h5")).labels;
  CHECK(at::equal(std::get<data::SoftLabels>(both).values, soft.values));
}

TEST_CASE("the committee of cv-dd votes by priors, which the record keeps", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const auto recipe_of = [&](const Words& more) {
    workspace.succeed(relabel(joined({"--recipe", "cv-dd", "--out", "l.h5"}, more), "2"));
    return storage::read_set(workspace.path("l.h5")).views->info().recipe;
  };
  CHECK_THAT(recipe_of({"--priors", "63,65.5"}), Contains("priors = 63,65.5\n"));
  // Without them they are measured; `shapes` has 400 training images.
  CHECK_THAT(recipe_of({}), Contains("\nvote = priors\n") && !Contains("priors = \n") &&
                                Contains("\npriors-measured-on = 400\n"));
  CHECK_THAT(recipe_of({"--teacher-names", "ConvNet-1-BN-w16", "--vote", "equal"}),
             Contains("vote = equal\n"));
  const auto wrong =
      workspace.retort(relabel({"--recipe", "cv-dd", "--out", "l.h5", "--priors", "63"}));
  CHECK(wrong.exit_code == 2);
  CHECK_THAT(wrong.err, Contains("priors: expected 2, one per teacher, found 1"));
}

TEST_CASE("a labelling killed at any moment goes on to the same bits", "[apps][relabel][kill]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const Words words = relabel({"--recipe", "cv-dd", "--out", "l.h5"}, "2000");
  workspace.succeed(relabel({"--recipe", "cv-dd", "--out", "whole.h5"}, "2000"));
  const fs::path parts = workspace.path("l.h5.parts");
  const auto saved_at = [&] {
    const fs::path first = parts / "labels-0.h5";
    return fs::exists(first) ? fs::last_write_time(first) : fs::file_time_type::min();
  };
  for (const int number : {SIGKILL, SIGINT}) {
    const auto before = saved_at();
    auto running = workspace.start(words);
    const ProcessResult left = signal_when(running, number, [&] { return saved_at() != before; });
    INFO(left.err);
    REQUIRE(left.exit_code != 0);  // it was not finished
    if (number == SIGKILL) continue;
    CHECK(left.exit_code == 130);
    CHECK_THAT(left.err, Contains("saved in l.h5.parts, the same command goes on"));
  }
  const auto other = workspace.retort(joined(words, {"--seed", "5"}));
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Contains("unfinished labels of other settings") && Contains("seed: 0 / 5"));
  const auto resumed = workspace.succeed(words);
  CHECK_THAT(resumed.err, Contains(" of 40000 views have labels in l.h5.parts"));
  CHECK(digest(workspace.path("l.h5")) == digest(workspace.path("whole.h5")));
  CHECK_FALSE(fs::exists(parts));
}

TEST_CASE("the set itself is replaced by its labelled self with consent alone", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const std::string before = digest(workspace.path("set.h5"));
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(text));
    CHECK(digest(workspace.path("set.h5")) == before);
    CHECK_FALSE(fs::exists(workspace.path("set.h5.parts")));
  };
  check(relabel({}), "Give --out FILE; 'set.h5' itself is replaced by --out set.h5 --force");
  check(relabel({"--out", "set.h5"}), "'set.h5' is the set that is read; --force replaces it");
  write_text(workspace.path("notes.txt"), "mine");
  check(relabel({"--out", "notes.txt"}), "exists and is no set file");
  workspace.succeed(relabel({"--out", "new.h5"}));
  workspace.succeed(relabel({"--out", "set.h5", "--force"}));
  CHECK(digest(workspace.path("set.h5")) == digest(workspace.path("new.h5")));
}

TEST_CASE("teachers that do not know the set's dataset are refused", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  workspace.succeed({"teachers", "--dataset", "shapes", "--nets", "ConvNet-2-BN-w16", "--epochs",
                     "1", "--lr", "1e-9", "--out", "fresh.h5"});
  const auto fresh = workspace.retort(
      {"relabel", "set.h5", "--teachers", "fresh.h5", "--out", "l.h5", "--epochs", "2"});
  CHECK(fresh.exit_code == 1);
  CHECK_THAT(fresh.err, Contains("'fresh.h5': teacher 0 (ConvNet-2-BN-w16) is right for ") &&
                            Contains("the probable reason is"));
  CHECK_FALSE(fs::exists(workspace.path("l.h5")));
  workspace.succeed({"teachers", "--dataset", "shapes-rgb", "--nets", "ConvNet-2-BN-w16",
                     "--epochs", "1", "--images-per-class", "8", "--out", "other.h5"});
  const auto other = workspace.retort(
      {"relabel", "set.h5", "--teachers", "other.h5", "--out", "l.h5", "--epochs", "2"});
  CHECK(other.exit_code == 1);
  CHECK_THAT(other.err, Contains("do not fit 'shapes'"));
}

TEST_CASE("a wrong relabel command ends with code 2 and says why", "[apps][relabel]") {
  Workspace own;
  const Workspace& workspace = with_teachers(own);
  const auto check = [&](const Words& words, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(text));
  };
  check({"relabel"}, "SET|RUN is missing");
  check({"relabel", "set.h5", "--out", "l.h5"}, "Give --teachers FILE, which `retort teachers`");
  check(relabel({"--out", "l.h5", "--recipe", "fdk"}), "did you mean 'fkd'?");
  check(relabel({"--out", "l.h5", "--teacher-names", "R18m"}), "has no teacher 'R18m'");
  check(relabel({"--out", "l.h5", "--batch-norm-group", "8"}),
        "changes nothing while batch-norm is eval");
  check(relabel({"--out", "l.h5", "--priors", "50,60"}), "changes nothing while vote is equal");
  const auto missing =
      workspace.retort({"relabel", "set.h5", "--teachers", "no.h5", "--out", "l.h5"});
  CHECK(missing.exit_code == 1);
  CHECK_THAT(missing.err, Contains("no.h5"));
}

TEST_CASE("the cost of labels is predicted", "[apps][relabel]") {
  const Workspace& workspace = taught_shapes();
  const auto text = workspace.succeed(relabel({"--dry-run"}));
  CHECK_THAT(text.out, Contains("120 of 20 images"));
  const json document = json::parse(workspace.succeed(relabel({"--dry-run", "--json"})).out);
  CHECK(document["schema"] == "retort.relabel-prediction/1");
  CHECK(document["views"] == 120);
  CHECK(document["bytes"]["label_values"] == 120 * 4 * 2);
  CHECK(document["total_seconds"].get<double>() > 0);
  // As many bytes as there will be.
  Workspace own;
  with_teachers(own).succeed(relabel({"--out", "l.h5"}));
  CHECK(document["bytes"]["label_meta"] == storage::label_bytes(own.path("l.h5")).views_meta);
}
