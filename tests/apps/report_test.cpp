#include <filesystem>

#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/report/page.h"
#include "lib/storage/set_file.h"
#include "tests/apps/program.h"
#include "tests/report/markup.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

/// A run of 20 iterations with two checks, judged with two architectures and a baseline.
const Workspace& judged_run() {
  static const Workspace workspace;
  static const bool made = [] {
    const std::string protocol = tiny_protocol(workspace);
    const Words condense = {
        "condense", "--method",     "dm",           "--dataset",       "shapes", "--ipc",
        "2",        "--net",        "ConvNet-2-w8", "--iterations",    "20",     "--batch-real",
        "16",       "--eval-every", "10",           "--eval-protocol", protocol, "--threads",
        "1",        "--run-dir",    "run",          "--quiet"};
    const Words evaluate = {
        "evaluate",    "run/set.h5", "--protocol", protocol, "--nets", "ConvNet-2-w8,ConvNet-1-w8",
        "--baselines", "random",     "--threads",  "1",      "--quiet"};
    for (const Words& words : {condense, evaluate}) {
      const auto result = workspace.retort(words);
      if (result.exit_code != 0) throw Error("a run to report failed: " + result.err);
    }
    return true;
  }();
  (void)made;
  return workspace;
}

Element read(const Workspace& workspace, const std::string& file) {
  return read_markup(read_text(workspace.path(file)));
}

const Element& section(const Element& page, const std::string& id) {
  for (const Element* found : page.all("section")) {
    if (found->attribute("id") == id) return *found;
  }
  throw Error("no section " + id);
}

std::vector<std::string> sections_of(const json& set) {
  return set.at("sections").get<std::vector<std::string>>();
}

}  // namespace

TEST_CASE("a report tells all that a judged run left", "[apps][report]") {
  const Workspace& workspace = judged_run();
  const auto result = workspace.succeed({"report", "run", "--out", "all.html", "--json"});
  const json document = json::parse(result.out);
  CHECK(document["schema"] == "retort.report/1");
  CHECK(document["out"] == "all.html");
  CHECK(document["bytes"] == std::filesystem::file_size(workspace.path("all.html")));
  const json& set = document["sets"].at(0);
  CHECK(set["set"] == "run/set.h5");
  CHECK(set["run_dir"] == "run");
  CHECK(set["evaluations"] == json({"run/evaluation.json"}));
  CHECK(set["missing"].empty());
  CHECK(sections_of(set) == std::vector<std::string>{"Accuracy", "Images", "Evolution", "Curves",
                                                     "Classes", "Pixel values", "Configuration",
                                                     "Cost"});

  const Element page = read(workspace, "all.html");
  const json evaluation = json::parse(read_text(workspace.path("run/evaluation.json")));
  CHECK(section(page, "accuracy").all("tbody")[0]->all("tr").size() == 4);
  CHECK_THAT(section(page, "accuracy").text, Contains("seeds 0, 1") && Contains("random"));
  CHECK(section(page, "architectures").all("rect").size() == 4);
  // 4 classes of 2 images with their neighbours; 9 pictures on the way and the set itself.
  CHECK(section(page, "images").all("img").size() == 16);
  CHECK(section(page, "evolution").all("img").size() == 4 * 10);
  CHECK_THAT(section(page, "evolution").all("img")[0]->attribute("alt"),
             Contains("disc after 2 iterations"));
  const Element& curves = section(page, "curves");
  CHECK(curves.all("tbody")[0]->all("tr").size() == 20);
  CHECK(curves.all("tbody")[1]->all("tr").size() == 2);
  CHECK(section(page, "classes").all("svg").size() == 4);
  CHECK_THAT(section(page, "configuration").text,
             Contains("retort condense --config run/config.cfg") && Contains("batch-real = 16"));
  CHECK_THAT(section(page, "cost").text,
             Contains("wall time") && Contains("peak memory") && Contains("judging, ConvNet-1-w8"));
  std::int64_t tested = 0;
  for (const auto& row : evaluation["results"][0]["confusion"]) {
    for (const auto& count : row) tested += count.get<std::int64_t>();
  }
  CHECK(tested == 2 * 200);
}

TEST_CASE("the pictures of a run and of its set agree", "[apps][report]") {
  const Workspace& workspace = judged_run();
  workspace.succeed({"report", "run", "--out", "pictures.html", "--no-nearest"});
  const Element page = read(workspace, "pictures.html");
  const auto shown = section(page, "images").all("img");
  const auto strips = section(page, "evolution").all("tbody")[0]->all("tr");
  REQUIRE(shown.size() == 8);
  REQUIRE(strips.size() == 4);
  for (std::size_t c = 0; c < 4; ++c) {
    const auto images = strips[c]->all("img");
    CHECK(images.back()->attribute("src") == shown[2 * c]->attribute("src"));
    CHECK(images.front()->attribute("src") != images.back()->attribute("src"));
  }
}

TEST_CASE("the same inputs give the same page", "[apps][report]") {
  const Workspace& workspace = judged_run();
  workspace.succeed({"report", "run", "--out", "first.html"});
  workspace.succeed({"report", "run", "--out", "second.html"});
  CHECK(read_text(workspace.path("first.html")) == read_text(workspace.path("second.html")));
}

TEST_CASE("a set alone is reported with what is missing and what would fill it", "[apps][report]") {
  const Workspace& workspace = condensed_shapes();
  const auto result = workspace.succeed({"report", "set.h5", "--out", "bare.html"});
  CHECK_THAT(result.out,
             Contains("bare.html, ") && Contains("set.h5: Images, Pixel values, Configuration") &&
                 Contains("retort evaluate set.h5 --runs 5 --baselines random,k-means --out "
                          "judged.json; retort report set.h5 --evaluations judged.json") &&
                 Contains("Only a run folder keeps"));
  const Element page = read(workspace, "bare.html");
  // Real images are nearest to themselves.
  const auto rows = section(page, "images").all("tbody")[0]->all("tr");
  REQUIRE(rows.size() == 8);
  for (const Element* row : rows) CHECK(row->children.back().text == "0.0000");
  CHECK_THAT(section(page, "accuracy").text, Contains("No result of an evaluation"));
  CHECK_THAT(section(page, "evolution").text, Contains("retort report RUN"));
}

TEST_CASE("sets stand beside each other, with results from elsewhere", "[apps][report]") {
  const Workspace& run = judged_run();
  std::filesystem::copy_file(condensed_shapes().path("set.h5"), run.path("other.h5"),
                             std::filesystem::copy_options::overwrite_existing);
  run.succeed({"evaluate", "other.h5", "--protocol", tiny_protocol(run), "--threads", "1", "--out",
               "judged.json", "--quiet"});
  const auto result = run.succeed(
      {"report", "run", "other.h5", "--evaluations", "judged.json", "--out", "two.html", "--json"});
  const json document = json::parse(result.out);
  REQUIRE(document["sets"].size() == 2);
  CHECK(document["sets"][1]["evaluations"] == json({"judged.json"}));
  const Element page = read(run, "two.html");
  CHECK(section(page, "accuracy").all("tbody")[0]->all("tr").size() == 5);
  CHECK_THAT(section(page, "accuracy").text, Contains("random (beside run)"));
  CHECK_THAT(section(page, "curves").text, Contains("Only a run folder keeps"));
  CHECK(section(page, "overview").all("thead")[0]->all("th").size() == 3);

  const auto stranger =
      run.retort({"report", "run", "--evaluations", "judged.json", "--out", "none.html"});
  CHECK(stranger.exit_code == 2);
  CHECK_THAT(stranger.err, Contains("'judged.json' is about a set with SHA-256"));
  CHECK_FALSE(std::filesystem::exists(run.path("none.html")));
}

TEST_CASE("a run that is not finished is reported as far as it is", "[apps][report]") {
  const Workspace& made = judged_run();
  const Workspace workspace;
  std::filesystem::copy(made.path("run"), workspace.path("half"));
  for (const char* file : {"set.h5", "grid.png", "evaluation.json"}) {
    std::filesystem::remove(workspace.path("half") / file);
  }
  const auto result = workspace.succeed({"report", "half", "--json"});
  const json set = json::parse(result.out)["sets"].at(0);
  CHECK(set["set"].is_null());
  CHECK(sections_of(set) == std::vector<std::string>{"Images", "Curves", "Configuration"});
  const Element page = read(workspace, "report.html");
  // Nothing is saved, the metrics tell of twenty.
  CHECK_THAT(section(page, "overview").text, Contains("20 of 20, saved after 0"));
  CHECK_THAT(section(page, "overview").text,
             Contains("not finished") && Contains("retort condense --run-dir half --resume"));
  CHECK_THAT(section(page, "images").all("img")[0]->attribute("alt"),
             Contains("after 18 iterations"));
}

TEST_CASE("a command that repeats stands only where there is one", "[apps][report]") {
  const Workspace workspace;
  workspace.succeed({"continual",
                     "--method",
                     "random",
                     "--dataset",
                     "shapes",
                     "--steps",
                     "2",
                     "--orders",
                     "1",
                     "--runs",
                     "1",
                     "--ipc",
                     "1",
                     "--threads",
                     "1",
                     "--protocol",
                     tiny_protocol(workspace),
                     "--run-dir",
                     "study",
                     "--quiet"});
  const auto configuration = [&](const Words& words) {
    workspace.succeed(joined({"report", "--no-nearest", "--out", "r.html", "--force"}, words));
    return section(read(workspace, "r.html"), "configuration").text;
  };
  const std::string step = configuration({"study/order-0/step-1"});
  CHECK_THAT(step, Contains("one step of a study") && Contains("retort continual --config ") &&
                       Contains("study/config.cfg") && !Contains("retort condense"));
  const auto told = workspace.succeed(
      {"report", "study/order-0/step-1", "--no-nearest", "--out", "r.html", "--force"});
  CHECK_THAT(told.out, Contains("judges its sets together") && !Contains("retort evaluate"));
  CHECK_THAT(workspace.retort({"evaluate", "study/order-0/step-1"}).err,
             Contains("those of one step of `retort continual`"));
  // The command is true.
  workspace.succeed({"continual", "--config", "study/config.cfg", "--run-dir", "again", "--quiet"});
  const auto refused = workspace.retort({"report", "study"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Contains("'study': is the folder of a study of `retort continual`") &&
                              Contains("order-*/step-*"));
  write_text(workspace.path("search/config.cfg"), "dataset = shapes\n");
  write_text(workspace.path("search/trainings/reference/x.json"), "{}");
  const auto search = workspace.retort({"report", "search"});
  CHECK(search.exit_code == 2);
  CHECK_THAT(search.err, Contains("'search': is the folder of a search of `retort nas`"));

  workspace.succeed({"export", condensed_shapes().path("set.h5").string(), "--out", "set.pt"});
  workspace.succeed({"import", "set.pt", "--dataset", "shapes", "--out", "imported.h5"});
  CHECK_THAT(configuration({"imported.h5"}), Contains("no command is known that makes it again") &&
                                                 !Contains("This command makes"));
}

TEST_CASE("a dataset that is there but wrong is not looked for elsewhere", "[apps][report]") {
  const Workspace workspace;
  data::SyntheticSet set = storage::read_set(condensed_shapes().path("set.h5"));
  set.provenance.dataset_sha256 = std::string(64, '0');
  storage::write_set(workspace.path("changed.h5"), set);
  CHECK_THAT(workspace.succeed({"report", "changed.h5"}).out,
             Contains("is not the one the set was made from") &&
                 Contains("retort report changed.h5 --data PATH"));
  set.provenance.dataset = "shapes-rgb";
  set.provenance.config.clear();
  storage::write_set(workspace.path("other.h5"), set);
  CHECK_THAT(workspace.succeed({"report", "other.h5"}).out,
             Contains("'shapes-rgb' has images of 3x16x16") && !Contains("--data PATH"));
}

TEST_CASE("nearest real images are left out with the reason where there is no dataset",
          "[apps][report]") {
  const Workspace workspace;
  std::filesystem::create_directories(workspace.path("data"));
  for (const char* split : {"train", "test"}) {
    for (const char* name : {"a", "<b>"}) {
      const auto folder = workspace.path("data") / split / name;
      workspace.succeed({"show", condensed_shapes().path("set.h5").string(), "--out",
                         (folder / "1.png").string()});
    }
  }
  workspace.succeed({"condense", "--method", "random", "--dataset", "folder", "--data", "data",
                     "--image-size", "8", "--ipc", "1", "--threads", "1", "--run-dir", "run",
                     "--quiet"});
  std::filesystem::rename(workspace.path("data"), workspace.path("gone"));
  const auto result = workspace.succeed({"report", "run"});
  CHECK_THAT(result.out, Contains("The nearest real images are left out: ") &&
                             Contains("retort report run --data PATH"));
  const Element page = read(workspace, "report.html");
  CHECK(section(page, "images").all("h4")[0]->text == "<b>");
  CHECK(section(page, "images").all("img").size() == 2);
  const auto asked = workspace.retort({"report", "run", "--data", "nowhere"});
  CHECK(asked.exit_code != 0);
  CHECK_THAT(asked.err, Contains("nowhere"));
  workspace.succeed({"report", "run", "--data", "gone"});
  CHECK(section(read(workspace, "report.html"), "images").all("img").size() == 4);
}

TEST_CASE("what cannot be reported is refused with its name", "[apps][report]") {
  const Workspace& workspace = judged_run();
  const auto check = [&](const Words& words, int code, const std::string& text) {
    const auto result = workspace.retort(words);
    INFO(result.err);
    CHECK(result.exit_code == code);
    CHECK_THAT(result.err, Contains(text));
  };
  std::filesystem::create_directories(workspace.path("empty"));
  check({"report"}, 2, "RUN|SET is missing");
  check({"report", "none.h5"}, 1, "'none.h5': there is no such file or folder");
  check({"report", "empty"}, 1, "'empty': is a folder, but of no run");
  check({"report", "run", "run/set.h5"}, 2, "each set may be named once, found 'run/set.h5'");
  check({"report", "run/set.h5", "--out", "run/set.h5"}, 2, "run/set.h5");
  write_text(workspace.path("text.txt"), "not a report");
  check({"report", "run", "--out", "text.txt"}, 2, "'text.txt' exists and is no report");
  CHECK(read_text(workspace.path("text.txt")) == "not a report");
  workspace.succeed({"report", "run", "--out", "text.txt", "--force", "--no-nearest"});
  CHECK(read_text(workspace.path("text.txt")).starts_with(report::kPageStart));
  workspace.succeed({"report", "run", "--out", "text.txt", "--no-nearest"});

  write_text(workspace.path("wrong.json"), "{\"schema\": \"retort.evaluation/2\"}");
  check({"report", "run", "--evaluations", "wrong.json"}, 1,
        "'wrong.json': expected schema retort.evaluation/1 or retort.ranking/1, found "
        "retort.evaluation/2");
  write_text(workspace.path("wrong.json"), "{\"schema\": \"retort.evaluation/1\"}");
  check({"report", "run", "--evaluations", "wrong.json"}, 1,
        "'wrong.json': is no result of an evaluation that can be read");
  json fewer = json::parse(read_text(workspace.path("run/evaluation.json")));
  fewer["class_names"].erase(0);
  write_text(workspace.path("wrong.json"), fewer.dump());
  check({"report", "run", "--evaluations", "wrong.json"}, 1,
        "'wrong.json': expected accuracies and confusions of 3 classes");
}

TEST_CASE("damaged files of a run end a report with their names", "[apps][report]") {
  const Workspace workspace;
  std::filesystem::copy(judged_run().path("run"), workspace.path("run"));
  const std::string metrics = read_text(workspace.path("run/metrics.csv"));
  write_text(workspace.path("run/metrics.csv"), metrics.substr(0, metrics.find('\n') + 1) + "0\n");
  const auto table = workspace.retort({"report", "run"});
  CHECK(table.exit_code == 1);
  CHECK_THAT(table.err, Contains("'run/metrics.csv':2: expected "));
  write_text(workspace.path("run/metrics.csv"), metrics);
  write_text(workspace.path("run/grid-000002.png"), "no picture");
  const auto picture = workspace.retort({"report", "run"});
  CHECK(picture.exit_code == 1);
  CHECK_THAT(picture.err, Contains("grid-000002.png"));
  CHECK_FALSE(std::filesystem::exists(workspace.path("report.html")));
}

TEST_CASE("condense tells TensorBoard on request, and remembers that it was asked",
          "[apps][report]") {
  const Workspace workspace;
  workspace.succeed({"condense", "--method", "random", "--dataset", "shapes", "--tensorboard",
                     "--threads", "1", "--run-dir", "run", "--quiet"});
  std::int64_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(workspace.path("run"))) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) ++files;
  }
  CHECK(files == 1);
  CHECK_THAT(read_text(workspace.path("run/session.cfg")), Contains("tensorboard = true"));
  CHECK_THAT(read_text(workspace.path("run/config.cfg")), !Contains("tensorboard"));
}
