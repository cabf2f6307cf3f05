#include "lib/eval/report.h"

#include <limits>
#include <sstream>

#include <nlohmann/json.hpp>

#include "lib/core/text.h"
#include "tests/support/catch.h"

using namespace retort;
using eval::EvaluationReport;

namespace {

eval::NetworkResult network_result(const std::string& network, std::vector<double> runs) {
  eval::NetworkResult result;
  result.network = network;
  std::uint64_t seed = 0;
  for (const double accuracy : runs) {
    result.runs.push_back({.seed = seed++, .last = accuracy, .best = {}, .seconds = 1});
  }
  result.mean = eval::spread(runs).mean;
  result.std = eval::spread(runs).std;
  result.per_class = {90, std::numeric_limits<double>::quiet_NaN()};
  result.confusion = {{9, 1}, {0, 0}};
  result.seconds = 12.34;
  return result;
}

EvaluationReport example() {
  EvaluationReport report;
  report.set = "set.h5";
  report.set_sha256 = "5e7";
  report.dataset_sha256 = "da7a";
  report.protocol.name = "dsa-300";
  report.protocol.epochs = 300;
  report.dataset = "fashion-mnist";
  report.tested_on = "test";
  report.seeds = {0, 1};
  report.class_names = {"T-shirt", "Trouser"};
  report.subject = {
      .name = "set.h5",
      .networks = {network_result("ConvNet-3", {84, 85}), network_result("ResNet-18", {70, 74})},
      .image_bytes = 313600,
      .label_bytes = 400,
      .decoded_images = 100,
      .sgd_steps = 301};
  report.baselines = {{.name = "random",
                       .networks = {network_result("ConvNet-3", {72.5, 73.5})},
                       .image_bytes = 78400,
                       .label_bytes = 400,
                       .decoded_images = 100,
                       .sgd_steps = 301}};
  return report;
}

}  // namespace

TEST_CASE("evaluation.json holds the documented fields", "[eval][json]") {
  const auto json = nlohmann::json::parse(eval::to_json(example()).dump());
  CHECK(json["schema"] == "retort.evaluation/1");
  CHECK(json["set"] == "set.h5");
  CHECK(json["set_sha256"] == "5e7");
  CHECK(json["dataset_sha256"] == "da7a");
  CHECK(json["protocol"] == "dsa-300");
  CHECK(json["protocol_options"]["epochs"] == "300");
  CHECK(json["dataset"] == "fashion-mnist");
  CHECK(json["tested_on"] == "test");
  CHECK(json["seeds"] == nlohmann::json({0, 1}));
  REQUIRE(json["results"].size() == 2);
  const auto& first = json["results"][0];
  CHECK(first["network"] == "ConvNet-3");
  CHECK(first["accuracy"]["mean"] == 84.5);
  CHECK(first["accuracy"]["std"] == 0.5);
  CHECK(first["accuracy"]["runs"] == nlohmann::json({84.0, 85.0}));
  CHECK(first["best"].is_null());
  CHECK(first["per_class"][0] == 90.0);
  CHECK(first["per_class"][1].is_null());
  CHECK(first["confusion"] == nlohmann::json({{9, 1}, {0, 0}}));
  CHECK(first["seconds"] == 12.34);
  REQUIRE(json["baselines"].size() == 1);
  CHECK(json["baselines"][0]["method"] == "random");
  CHECK(json["baselines"][0]["accuracy"]["mean"] == 73.0);
  CHECK(json["baselines"][0]["bytes"]["images"] == 78400);
  CHECK(json["bytes"]["images"] == 313600);
  CHECK(json["bytes"]["labels"] == 400);
  CHECK(json["decoded_images"] == 100);
  CHECK(json["sgd_steps"] == 301);
}

TEST_CASE("a best accuracy is marked as selected on the test set", "[eval][json][table]") {
  auto report = example();
  auto& result = report.subject.networks[0];
  result.runs[0].best = 86;
  result.runs[1].best = 87;
  result.best_mean = 86.5;
  const auto best = eval::to_json(report)["results"][0]["best"];
  CHECK(best["mean"] == 86.5);
  CHECK(best["runs"] == nlohmann::json({86.0, 87.0}));
  CHECK(best["selected_on"] == "test");
  const auto table = eval::to_table(report);
  CHECK_THAT(table, Catch::Matchers::Contains("best*") && Catch::Matchers::Contains("86.50") &&
                        Catch::Matchers::Contains("* selected on the test images"));
  report.tested_on = "held-out training images";
  CHECK(eval::to_json(report)["results"][0]["best"]["selected_on"] == report.tested_on);
  CHECK_THAT(eval::to_table(report),
             Catch::Matchers::Contains("* selected on the held-out training images"));
  CHECK_THAT(eval::to_table(example()), !Catch::Matchers::Contains("best"));
}

TEST_CASE("hard labels, teachers and bytes of views stand beside labels of teachers",
          "[eval][json][table]") {
  auto report = example();
  CHECK(eval::to_json(report)["hard_labels"].is_null());
  CHECK(eval::to_json(report)["teachers"].is_null());
  report.protocol.labels = "views";
  report.protocol.loss = "kl";
  report.protocol.temperature = 20;
  report.subject.label_bytes = 1000;
  report.subject.view_bytes = 300;
  report.hard_labels = {.name = "hard labels",
                        .networks = {network_result("ConvNet-3", {60, 62})},
                        .image_bytes = 313600,
                        .label_bytes = 400,
                        .decoded_images = 100,
                        .sgd_steps = 301};
  data::Asset teachers;
  teachers.file = "t.h5";
  teachers.sha256 = "abc";
  teachers.note = "MLP";
  report.teachers = teachers;
  report.teacher_bytes = 2000000;
  report.label_recipe = "recipe = fkd\nepochs = 200\n";
  const auto json = eval::to_json(report);
  CHECK(json["bytes"]["label_values"] == 700);
  CHECK(json["bytes"]["label_views"] == 300);
  REQUIRE(json["hard_labels"].size() == 1);
  CHECK(json["hard_labels"][0]["accuracy"]["mean"] == 61.0);
  CHECK(json["hard_labels"][0]["bytes"]["labels"] == 400);
  CHECK(json["teachers"]["file"] == "t.h5");
  CHECK(json["teachers"]["bytes"] == 2000000);
  CHECK(json["label_recipe"] == "recipe = fkd\nepochs = 200\n");
  CHECK(json["protocol_options"]["temperature"] == "20");
  const auto table = eval::to_table(report);
  CHECK_THAT(table, Catch::Matchers::Contains("recorded labels of views, KL at temperature 20") &&
                        Catch::Matchers::Contains("teachers MLP of t.h5, 2.0 MB\n") &&
                        Catch::Matchers::Contains("labels by recipe = fkd, epochs = 200\n") &&
                        Catch::Matchers::Contains("of them views") &&
                        Catch::Matchers::Contains("hard labels") &&
                        !Catch::Matchers::Contains("augmentation"));
  CHECK(table.find("hard labels") < table.find("random"));
  report.protocol.labels = "teachers";
  CHECK_THAT(eval::to_table(report),
             Catch::Matchers::Contains("of t.h5, 2.0 MB that students need beside the set\n"));
  report.protocol.augmentation = "none";
  CHECK_THAT(eval::to_table(report), Catch::Matchers::Contains(", no augmentation"));
  report.protocol.flip = true;
  report.protocol.mix = "cutmix";
  CHECK_THAT(eval::to_table(report), Catch::Matchers::Contains(", mirrored, cutmix") &&
                                         !Catch::Matchers::Contains("no augmentation"));
  report.hard_labels.reset();
  report.hard_labels_left_out = true;
  CHECK_THAT(eval::to_table(report), Catch::Matchers::Contains("(--no-hard)"));
}

TEST_CASE("robust accuracies stand beside the plain ones", "[eval][json][table]") {
  auto report = example();
  CHECK(eval::to_json(report)["results"][0].count("robust") == 0);
  report.attacks = {{.kind = eval::Attack::Kind::Fgsm, .radius = 1.0 / 255},
                    {.kind = eval::Attack::Kind::Pgd, .radius = 0.1}};
  const auto withstood = [&](eval::NetworkResult& result) {
    for (const auto& attack : report.attacks) {
      result.robust.push_back({attack, {40, 42}, 41, 1});
    }
  };
  for (auto& result : report.subject.networks) withstood(result);
  for (auto& result : report.baselines[0].networks) withstood(result);
  const auto robust = eval::to_json(report)["results"][0]["robust"];
  REQUIRE(robust.size() == 2);
  CHECK(robust[0]["attack"] == "fgsm");
  CHECK(robust[0].count("steps") == 0);
  CHECK(robust[1]["radius"] == 0.1);
  CHECK(robust[1]["steps"] == 10);
  CHECK(robust[1]["accuracy"]["mean"] == 41.0);
  CHECK_THAT(eval::to_table(report), Catch::Matchers::Contains("fgsm 1/255 %") &&
                                         Catch::Matchers::Contains("pgd 0.1 %") &&
                                         Catch::Matchers::Contains("41.00 ± 1.00"));
}

TEST_CASE("one network has no spread", "[eval][json][table]") {
  auto report = example();
  report.seeds = {7};
  report.subject.networks = {network_result("ConvNet-3", {84})};
  report.baselines.clear();
  const auto table = eval::to_table(report);
  CHECK_THAT(table, Catch::Matchers::Contains("one network (seed 7)") &&
                        Catch::Matchers::Contains("  84.00  ") && !Catch::Matchers::Contains("±"));
  CHECK(eval::to_json(report)["results"][0]["accuracy"]["std"] == 0.0);
}

TEST_CASE("step sizes stand in the table where each set has its own", "[eval][json][table]") {
  auto report = example();
  report.subject.lr = 0.0125;
  report.baselines[0].lr = 0.01;
  CHECK_THAT(eval::to_table(report), !Catch::Matchers::Contains("step size"));
  report.protocol.step_size = "learned";
  CHECK_THAT(eval::to_table(report), Catch::Matchers::Contains("accuracy %  step size") &&
                                         Catch::Matchers::Contains("  0.0125  ") &&
                                         Catch::Matchers::Contains("    0.01  "));
  CHECK(eval::to_json(report)["lr"] == 0.0125);
  CHECK(eval::to_json(report)["baselines"][0]["lr"] == 0.01);
}

TEST_CASE("a set condensed from a subset is announced as such", "[eval][json][table]") {
  auto report = example();
  CHECK(eval::to_json(report)["subset_per_class"].is_null());
  CHECK_THAT(eval::to_table(report), !Catch::Matchers::Contains("subset"));
  report.subset_per_class = 50;
  CHECK(eval::to_json(report)["subset_per_class"] == 50);
  CHECK_THAT(eval::to_table(report),
             Catch::Matchers::Contains("condensed from a subset, 50 training images per class"));
}

TEST_CASE("the table names its protocol and lines up", "[eval][table]") {
  const auto table = eval::to_table(example());
  CHECK_THAT(table, Catch::Matchers::StartsWith("protocol dsa-300: 301 epochs, batch 256"));
  CHECK_THAT(table, Catch::Matchers::Contains("84.50 ± 0.50") &&
                        Catch::Matchers::Contains("313.6 kB") &&
                        Catch::Matchers::Contains("seeds 0, 1"));
  std::istringstream lines(table.substr(table.find("trained on")));
  std::string line;
  std::vector<std::size_t> widths;
  while (std::getline(lines, line)) {
    widths.push_back(text_width(line));
  }
  REQUIRE(widths.size() == 4);
  CHECK(std::all_of(widths.begin(), widths.end(), [&](auto w) { return w == widths[0]; }));
  CHECK(table.find("random") > table.find("ResNet-18"));
}

TEST_CASE("the mean over transfer architectures leaves out the one of the set",
          "[eval][json][table]") {
  auto report = example();
  CHECK(eval::to_json(report)["cross_architecture"].is_null());
  report.subject.networks.push_back(network_result("MLP", {40}));
  report.cross_architecture = eval::CrossArchitecture{.pool = "dc", .source = "ConvNet-3"};
  const auto json = eval::to_json(report)["cross_architecture"];
  CHECK(json["pool"] == "dc");
  CHECK(json["source"] == "ConvNet-3");
  REQUIRE(json["transfer"].size() == 2);
  CHECK(json["transfer"][0]["trained_on"] == "set.h5");
  CHECK(json["transfer"][0]["networks"] == 2);
  CHECK(json["transfer"][0]["mean"] == 56.0);
  CHECK(json["transfer"][1]["networks"] == 0);
  CHECK_THAT(eval::to_table(report), Catch::Matchers::Contains("mean of 2 others") &&
                                         Catch::Matchers::Contains("56.00") &&
                                         Catch::Matchers::Contains("fewer networks: MLP: seed 0"));
}

TEST_CASE("the best augmentation is marked as selected on the test set", "[eval][json][table]") {
  auto report = example();
  CHECK(eval::to_json(report)["augmentations"].is_null());
  CHECK_THAT(eval::to_table(report), !Catch::Matchers::Contains("augmentation  "));
  report.augmentations = {"none", "dsa"};
  report.subject.networks = {network_result("MLP", {40, 42}), network_result("MLP", {50, 54})};
  report.subject.networks[0].under = eval::AugmentedBy{"none", 3};
  report.subject.networks[1].under = eval::AugmentedBy{"dsa", 7};
  report.baselines.clear();
  const auto json = eval::to_json(report);
  CHECK(json["results"][1]["augmentation"] == "dsa");
  CHECK(json["results"][1]["sgd_steps"] == 7);
  REQUIRE(json["augmentations"].size() == 1);
  const auto& summary = json["augmentations"][0];
  CHECK(summary["network"] == "MLP");
  CHECK(summary["best"]["augmentation"] == "dsa");
  CHECK(summary["best"]["mean"] == 52.0);
  CHECK(summary["best"]["selected_on"] == "test");
  CHECK(summary["mean"] == 46.5);
  const auto table = eval::to_table(report);
  CHECK_THAT(table, Catch::Matchers::Contains("best: dsa*") && Catch::Matchers::Contains("46.50") &&
                        Catch::Matchers::Contains("none for 301 epochs, dsa for 301 epochs") &&
                        Catch::Matchers::Contains("chosen on the test images: optimistic"));
}
