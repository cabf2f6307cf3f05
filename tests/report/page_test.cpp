#include "lib/report/page.h"

#include <cmath>
#include <filesystem>
#include <functional>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/report/csv.h"
#include "tests/report/markup.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::report;
using Catch::Matchers::Contains;
using testing::Element;

namespace {

Image image(const std::string& alt) {
  return {.png = "\x89PNG", .width = 8, .height = 8, .alt = alt};
}

Judged judged(const std::string& subject, const std::string& network, double mean) {
  Judged out;
  out.subject = subject;
  out.network = network;
  out.mean = mean;
  out.std = 0.5;
  out.runs = {mean - 0.5, mean + 0.5};
  out.images = 20;
  out.image_bytes = 20480;
  out.label_bytes = 80;
  out.sgd_steps = 101;
  out.seconds = 1.25;
  out.per_class = {90, 80};
  out.confusion = {{9, 1}, {2, 8}};
  return out;
}

/// Everything that a set can have.
SetReport full(const std::string& name) {
  SetReport set;
  set.name = name;
  set.facts = {{"method", "dm"}, {"seed", "0"}};
  Cell cell{.image = image("disk 0"), .nearest = Neighbour{image("nearest"), 17, "ring", 0.125}};
  set.galleries = {{.title = "Stored images", .rows = {{"disk", {cell}, 3}, {"<ring>", {}, 0}}}};
  set.evolution = {.iterations = {10, 20},
                   .strips = {{"disk", {image("disk at 10"), image("disk at 20")}}}};
  set.metrics = {{.name = "loss", .x = {0, 1}, .y = {2, 1}, .spread = {}},
                 {.name = "gradient_norm", .x = {0, 1}, .y = {3, 4}, .spread = {}}};
  set.checks = {{.name = "quick", .x = {1, 2}, .y = {50, 60}, .spread = {1, 2}}};
  Judged baseline = judged("random", "ConvNet-3", 60);
  baseline.baseline = true;
  set.evaluations = {
      {.file = "evaluation.json",
       .protocol = "quick",
       .dataset = "shapes",
       .tested_on = "test",
       .seeds = "0, 1",
       .options = "epochs = 100",
       .teachers = "",
       .class_names = {"disk", "<ring>"},
       .judged = {judged(name, "ConvNet-3", 90), judged(name, "ResNet-18", 80), baseline}}};
  set.pixels = Histogram{.title = "Pixels", .value_title = "value", .counts = {1, 2}};
  set.cost = {{"wall time", "2 s"}};
  set.config = "method = dm\n";
  set.repeat = "retort condense --config config.cfg";
  return set;
}

ReportData data_of(std::vector<SetReport> sets) {
  return {.title = "A & B", .program = "retort 0", .sets = std::move(sets)};
}

Element read(const ReportData& data) { return testing::read_markup(page(data)); }

const Element& section(const Element& page, const std::string& id) {
  for (const Element* found : page.all("section")) {
    if (found->attribute("id") == id) return *found;
  }
  throw Error("no section " + id);
}

}  // namespace

TEST_CASE("a page is whole in itself: nothing is fetched and no script but its own runs",
          "[report]") {
  const std::string text = page(data_of({full("one"), full("two")}));
  CHECK(text.starts_with(kPageStart));
  CHECK(text.find("http:") == std::string::npos);
  CHECK(text.find("https:") == std::string::npos);
  CHECK(text.find("url(") == std::string::npos);
  CHECK(text.find("@import") == std::string::npos);
  const Element root = testing::read_markup(text);
  CHECK(root.all("link").empty());
  REQUIRE(root.all("script").size() == 1);
  CHECK(root.all("script")[0]->attributes.empty());
  for (const Element* found : root.all("img")) {
    CHECK_THAT(found->attribute("src"), Catch::Matchers::StartsWith("data:"));
  }
  std::string policy;
  for (const Element* meta : root.all("meta")) {
    if (meta->attribute("http-equiv") == "Content-Security-Policy") {
      policy = meta->attribute("content");
    }
  }
  CHECK_THAT(policy, Contains("default-src 'none'") && Contains("script-src 'sha256-"));
}

TEST_CASE("every picture and plot of a page has words, every plot its numbers", "[report]") {
  const Element root = read(data_of({full("one")}));
  for (const Element* found : root.all("img")) CHECK(found->attributes.contains("alt"));
  CHECK(root.all("button")[0]->all("img")[0]->attribute("alt") == "disk 0");
  const auto plots = root.all("svg");
  CHECK(plots.size() == 9);  // map, 2 curves and checks, 2 x (bars and confusion), histogram
  for (const Element* svg : plots) {
    CHECK(svg->attribute("role") == "img");
    CHECK_FALSE(svg->attribute("aria-label").empty());
    REQUIRE(svg->children.size() > 2);
    CHECK(svg->children[0].name == "title");
    CHECK(svg->children[1].name == "desc");
    CHECK_FALSE(svg->children[1].text.empty());
  }
  for (const Element* figure : root.all("figure")) {
    REQUIRE(figure->all("details").size() == 1);
    CHECK_FALSE(figure->all("details")[0]->all("td").empty());
  }
}

TEST_CASE("a page says whose accuracy under which protocol at what cost", "[report]") {
  const Element root = read(data_of({full("one"), full("two")}));
  const Element& accuracy = section(root, "accuracy");
  CHECK_THAT(accuracy.text, Contains("Protocol quick, shapes, tested on test") &&
                                Contains("seeds 0, 1") && Contains("90.00 ± 0.50") &&
                                Contains("20.5 kB") && Contains("80 B") && Contains("101") &&
                                Contains("random (beside two)") && Contains("epochs = 100"));
  CHECK(accuracy.all("tbody")[0]->all("tr").size() == 6);
  const Element& map = section(root, "architectures");
  CHECK(map.all("tbody")[0]->all("tr").size() == 4);
  CHECK_THAT(section(root, "overview").text, Contains("one") && Contains("two"));
  CHECK_THAT(section(root, "images").text,
             Contains("0.125") && Contains("ring") && Contains("and 3 more") && Contains("<ring>"));
  CHECK_THAT(section(root, "configuration").text,
             Contains("retort condense --config config.cfg") && Contains("method = dm"));
  CHECK_THAT(section(root, "cost").text, Contains("2 s"));
}

TEST_CASE("results of different protocols stand in tables of their own", "[report]") {
  SetReport set = full("one");
  set.evaluations.push_back(set.evaluations[0]);
  set.evaluations[1].protocol = "dsa";
  CHECK(section(read(data_of({set})), "accuracy").all("h3").size() == 2);
}

TEST_CASE("augmentations are columns of a map of their own, not architectures", "[report]") {
  SetReport set = full("one");
  std::vector<Judged>& all = set.evaluations[0].judged;
  all = {judged("one", "ConvNet-3", 70), judged("one", "ConvNet-3", 75)};
  all[0].augmentation = "dsa";
  all[1].augmentation = "cifar";
  set.evaluations[0].notes = {"mean over augmentations 72.50 %"};
  const Element root = read(data_of({set}));
  const Element& accuracy = section(root, "accuracy");
  CHECK(accuracy.all("th")[2]->text == "augmentation");
  CHECK_THAT(accuracy.text, Contains("cifar") && Contains("mean over augmentations 72.50 %"));
  const auto maps = section(root, "architectures").all("svg");
  REQUIRE(maps.size() == 1);
  CHECK_THAT(maps[0]->attribute("aria-label"), Contains("by augmentation, ConvNet-3"));
  const auto rows = section(root, "architectures").all("tbody")[0]->all("tr");
  REQUIRE(rows.size() == 1);
  CHECK(rows[0]->all("td").size() == 2);
}

TEST_CASE("architectures under one augmentation have their map", "[report]") {
  SetReport set = full("one");
  for (Judged& all : set.evaluations[0].judged) all.augmentation = "dsa";
  const Element root = read(data_of({set}));
  const auto maps = section(root, "architectures").all("svg");
  REQUIRE(maps.size() == 1);
  CHECK_THAT(maps[0]->attribute("aria-label"), Contains("augmentation dsa"));
}

TEST_CASE("a score stands with the trainings behind it and what they were chosen on", "[report]") {
  SetReport set = full("one");
  set.evaluations.clear();
  set.scores = {{.file = "ranking.json",
                 .title = "Score of protocol lrs",
                 .how = "one repetition.",
                 .note = "* chosen on the test images.",
                 .header = {"trained on", "labels", "augmented", "best* %"},
                 .rows = {{"random", "hard", "no", "61.00"}},
                 .parts = {{"IOR", "9.00", "set - random"}, {"LRS", "30.10", "weight 0.5"}}}};
  CHECK(filled_sections(set).front() == "Accuracy");
  const Element root = read(data_of({set}));
  CHECK_THAT(section(root, "accuracy").text, Contains("Score of protocol lrs") &&
                                                 Contains("30.10") && Contains("61.00") &&
                                                 Contains("chosen on the test images"));
}

TEST_CASE("results that cannot be compared stand in tables of their own", "[report]") {
  const SetReport one = full("one");
  const auto tables = [&](const std::function<void(Evaluation&)>& change) {
    SetReport two = full("two");
    change(two.evaluations[0]);
    return section(read(data_of({one, two})), "accuracy").all("table").size();
  };
  CHECK(tables([](Evaluation&) {}) == 1);
  CHECK(tables([](Evaluation& e) { e.dataset_sha256 = "other"; }) == 2);
  CHECK(tables([](Evaluation& e) { e.subset_per_class = 10; }) == 2);
  CHECK(tables([](Evaluation& e) { e.teachers_sha256 = "other"; }) == 2);
  CHECK(tables([](Evaluation& e) { e.label_recipe = "recipe = fkd\n"; }) == 2);
  CHECK(tables([](Evaluation& e) { e.tested_on = "held-out training images"; }) == 2);
  SetReport other = full("two");
  other.evaluations[0].teachers = "ResNet-18";
  other.evaluations[0].teachers_sha256 = "t";
  other.evaluations[0].label_recipe = "recipe = fkd\nepochs = 3\n";
  other.evaluations[0].subset_per_class = 10;
  const std::string text = section(read(data_of({one, other})), "accuracy").text;
  CHECK_THAT(text, Contains("Teachers: ResNet-18.") &&
                       Contains("Labels: recipe = fkd, epochs = 3.") &&
                       Contains("a subset, 10 training images per class"));
}

TEST_CASE("what two files say of the same networks stands apart", "[report]") {
  SetReport set = full("one");
  set.evaluations.push_back(set.evaluations[0]);
  set.evaluations[1].file = "again.json";
  set.evaluations[1].judged[0].mean = 70;
  set.evaluations[1].judged.resize(1);
  const Element root = read(data_of({set}));
  CHECK_THAT(section(root, "accuracy").text, Contains("one, again.json"));
  const Element& map = section(root, "architectures");
  CHECK_THAT(map.text, Contains("one, evaluation.json") && Contains("one, again.json"));
  CHECK_THAT(map.all("tbody")[0]->text, Contains("90.00 ± 0.50") && Contains("70.00 ± 0.50"));
}

TEST_CASE("the best of several tests is marked as chosen by them", "[report]") {
  SetReport set = full("one");
  set.evaluations[0].judged[0].best = 91.5;
  set.evaluations[0].judged[0].attacked = {{"fgsm 8/255", 40, 1}};
  const Element root = read(data_of({set}));
  CHECK_THAT(section(root, "accuracy").text,
             Contains("best* %") && Contains("91.50") && Contains("chosen on test: optimistic") &&
                 Contains("fgsm 8/255 %") && Contains("40.00 ± 1.00"));
}

TEST_CASE("what is missing is left out with what would fill it", "[report]") {
  SetReport bare;
  bare.name = "bare.h5";
  bare.gaps = {{"Accuracy", "Nothing was judged yet.", "retort evaluate bare.h5"},
               {"Evolution", "No run folder.", ""}};
  CHECK(filled_sections(bare).empty());
  const Element root = read(data_of({bare}));
  CHECK(root.all("svg").empty());
  CHECK(root.all("button").size() == 3);  // of the dialog
  CHECK_THAT(section(root, "accuracy").text,
             Contains("Nothing was judged yet.") && Contains("retort evaluate bare.h5"));
  CHECK_THAT(section(root, "evolution").text, Contains("No run folder."));
  CHECK(filled_sections(full("one")) ==
        std::vector<std::string>{"Accuracy", "Images", "Evolution", "Curves", "Classes",
                                 "Pixel values", "Configuration", "Cost"});
}

TEST_CASE("what scrolls has a role and a name, and every column a title", "[report]") {
  const Element root = read(data_of({full("one")}));
  std::size_t found = 0;
  for (const Element* box : root.all("div")) {
    if (!box->attributes.contains("tabindex")) continue;
    ++found;
    CHECK(box->attribute("role") == "group");
    CHECK_FALSE(box->attribute("aria-label").empty());
  }
  CHECK(found > 5);
  for (const Element* title : root.all("th")) CHECK_FALSE(title->text.empty());
}

TEST_CASE("links within a page lead to its sections", "[report]") {
  const Element root = read(data_of({full("one")}));
  CHECK(root.all("a").size() == root.all("section").size());
  for (const Element* link : root.all("a")) {
    CHECK(link->attribute("href") ==
          "#" + section(root, link->attribute("href").substr(1)).attribute("id"));
  }
}

TEST_CASE("tables of a run are read, and damage is named", "[report]") {
  const testing::TemporaryFolder folder("retort-report");
  const auto path = folder.path() / "metrics.csv";
  write_text(path, "iteration,loss\n0,1.5\n1,\n2,0.5");
  const CsvTable table = read_csv(path);
  CHECK(table.rows.size() == 2);  // the last line was cut short
  CHECK(table.numbers(table.column("loss"))[0] == 1.5);
  CHECK(std::isnan(table.numbers(1)[1]));
  CHECK_THROWS_WITH_TEXT(table.column("mean"), StorageError,
                         "metrics.csv': expected a column 'mean', found iteration, loss");
  write_text(path, "iteration,loss\n0,1.5\n1,x\n");
  CHECK_THROWS_WITH_TEXT(read_csv(path).numbers(1), StorageError,
                         "metrics.csv':3: expected a number in column 'loss', found 'x'");
  write_text(path, "iteration,loss\n0\n1,2\n");
  CHECK_THROWS_WITH_TEXT(read_csv(path), StorageError,
                         "metrics.csv':2: expected 2 columns, found 1");
}
