#include "lib/sweep/table.h"

#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::sweep;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

json entry(const std::vector<double>& runs) {
  return {{"network", "Net_1"}, {"accuracy", {{"runs", runs}}}, {"seconds", 4.0}};
}

Judgement judgement(std::size_t group, const std::string& method, const std::string& seed,
                    const std::vector<double>& runs) {
  json random = entry({50, 52});
  random["method"] = "random";
  random["bytes"] = {{"images", 2000}, {"labels", 8}};
  random["decoded_images"] = 20;
  return {.group = group,
          .seed = seed,
          .labels = {{"method", method}, {"dataset", "d"}, {"ipc", "1"}, {"lr", "0.1,0.2"}},
          .run = "out/" + method + seed,
          .file = "out/" + method + seed + "/evaluation.json",
          .condense_seconds = seed == "0" ? 10.0 : 20.0,
          .document = {{"protocol", "p"},
                       {"tested_on", "test"},
                       {"dataset_sha256", std::string(64, 'a')},
                       {"results", json::array({entry(runs)})},
                       {"baselines", json::array({random})},
                       {"hard_labels", nullptr},
                       {"bytes", {{"images", 1000}, {"labels", 4}}},
                       {"decoded_images", 10}}};
}

Table table() {
  return {
      .rows = join_results({judgement(0, "dc", "0", {40, 40}), judgement(1, "dm", "0", {60, 70}),
                            judgement(1, "dm", "1", {80, 70})}),
      .cells = 4,
      .finished = 3};
}

}  // namespace

TEST_CASE("sets of different seeds share a row with both spreads", "[sweep]") {
  const auto rows = table().rows;
  REQUIRE(rows.size() == 3);
  const Row& dm = rows[2];
  CHECK(value_of(dm.labels, "method") == "dm");
  CHECK(dm.sets.size() == 2);
  CHECK(dm.networks() == 4);
  CHECK(dm.mean() == Approx(70));
  CHECK(dm.spread() == Approx(std::sqrt(50)));
  CHECK(dm.between().value() == Approx(5));
  CHECK(dm.condense_seconds() == Approx(15));
  CHECK(rows[0].sets.size() == 1);
  CHECK_FALSE(rows[0].between());
}

TEST_CASE("a baseline that came out the same beside several sets stands once", "[sweep]") {
  auto joined = table().rows;
  CHECK(std::count_if(joined.begin(), joined.end(),
                      [](const Row& row) { return row.beside == "random"; }) == 1);
  auto other = judgement(2, "mtt", "0", {1, 2});
  other.document["baselines"][0]["accuracy"]["runs"] = {51, 52};
  other.document["hard_labels"] = json::array({other.document["baselines"][0]});
  joined = join_results({judgement(1, "dm", "0", {60, 70}), other});
  REQUIRE(joined.size() == 5);
  CHECK(joined[1].beside == "random");
  CHECK(joined[3].beside == "hard labels");
  CHECK(value_of(joined[3].labels, "method") == "mtt");
  CHECK(joined[4].beside == "random");
}

TEST_CASE("one table in four ways", "[sweep]") {
  const std::string text = table_text(table());
  CHECK_THAT(text, Contains("3 of 4 cells are finished; tested on the test images, by which no "
                            "setting should be chosen"));
  CHECK_THAT(text, Contains("70.00 ± 7.07          5.00"));
  CHECK_THAT(text, Contains("random  d        1    -"));
  const std::string csv = table_csv(table());
  CHECK_THAT(csv,
             Contains("method,dataset,ipc,lr,beside,protocol,network,tested_on,accuracy,std,"));
  CHECK_THAT(csv, Contains("dm,d,1,\"0.1,0.2\",,p,Net_1,test,70,7.07"));
  CHECK_THAT(csv, Contains(",d,1,,random,p,Net_1,test,51,1,,1,2,20,2000,8,0,4"));
  const std::string latex = table_latex(table());
  CHECK_THAT(latex, Contains("dm & d & 1 & 0.1,0.2 & p & Net\\_1 & 70.00 $\\pm$ 7.07 & 5.00"));
  CHECK_THAT(latex, Contains("\\begin{tabular}{llllllrrrrrrrrr}"));
  const json document = table_json(table());
  CHECK(document["schema"] == "retort.sweep/1");
  CHECK(document["finished"] == 3);
  CHECK(document["rows"][2]["accuracy"]["networks"] == 4);
  CHECK(document["rows"][2]["accuracy"]["std_between_sets"] == 5.0);
  CHECK(document["rows"][2]["sets"][1]["seed"] == "1");
  CHECK(document["rows"][0]["accuracy"]["std_between_sets"].is_null());
  CHECK(table_text({.rows = {}, .cells = 2, .finished = 0}) ==
        "0 of 2 cells are finished, no set is judged\n");
}

TEST_CASE("a document that is no evaluation is named", "[sweep]") {
  auto broken = judgement(0, "dm", "0", {1});
  broken.document.erase("decoded_images");
  CHECK_THROWS_WITH_TEXT(join_results({broken}), StorageError,
                         "'out/dm0/evaluation.json': is no result of an evaluation");
}

TEST_CASE("what was tested on stands in every form of the table", "[sweep]") {
  auto held = judgement(0, "dm", "0", {60, 70});
  held.document["tested_on"] = "held-out training images";
  held.document["baselines"] = json::array();
  Table one{.rows = join_results({held}), .cells = 1, .finished = 1};
  CHECK_THAT(table_text(one), Contains("; tested on held-out training images; "));
  CHECK_THAT(table_latex(one), Contains("; tested on held-out training images; "));
  CHECK_THAT(table_csv(one), Contains("p,Net_1,held-out training images,65,"));
  CHECK(table_json(one)["rows"][0]["tested_on"] == "held-out training images");
  // On different images they are no sets of one row.
  auto test = judgement(0, "dm", "1", {80, 80});
  test.document["baselines"] = json::array();
  one.rows = join_results({held, test});
  REQUIRE(one.rows.size() == 2);
  CHECK_THAT(table_text(one), Contains("tested on what each row says") &&
                                  Contains("held-out training images  65.00 ± 5.00") &&
                                  Contains("test                      80.00 ± 0.00"));
}

TEST_CASE("attacks and the best of several tests have columns", "[sweep]") {
  auto attacked = judgement(0, "dm", "0", {60, 70});
  json& entry = attacked.document["results"][0];
  entry["best"] = {{"mean", 75}, {"std", 5}, {"runs", {70, 80}}, {"selected_on", "test"}};
  entry["robust"] = json::array({{{"attack", "pgd"},
                                  {"radius", 8.0 / 255},
                                  {"steps", 10},
                                  {"restarts", 2},
                                  {"accuracy", {{"runs", {20, 30}}}}}});
  const Table one{.rows = join_results({attacked}), .cells = 1, .finished = 1};
  REQUIRE(one.rows.size() == 2);
  CHECK(one.rows[0].best()->mean == 75);
  CHECK(one.rows[0].attacks() == std::vector<std::string>{"pgd 8/255, 10 steps, 2 restarts"});
  CHECK(one.rows[0].under("pgd 8/255, 10 steps, 2 restarts")->std == 5);
  CHECK_FALSE(one.rows[0].under("fgsm 8/255"));
  CHECK_FALSE(one.rows[1].best());
  const std::string text = table_text(one);
  CHECK_THAT(text, Contains("best* %") && Contains("pgd 8/255, 10 steps, 2 restarts %") &&
                       Contains("75.00 ± 5.00") && Contains("25.00 ± 5.00") &&
                       Contains("* the best of several tests of each network"));
  CHECK_THAT(table_csv(one), Contains("evaluate_seconds,best,best_std,") && Contains(",75,5,25,5"));
  CHECK_THAT(table_latex(one), Contains("best* \\%") && Contains("25.00 $\\pm$ 5.00"));
  const json row = table_json(one)["rows"][0];
  CHECK(row["best"]["mean"] == 75);
  CHECK(row["robust"][0]["attack"] == "pgd 8/255, 10 steps, 2 restarts");
  CHECK(row["robust"][0]["mean"] == 25);
  // Of two sets only what both were tested under.
  CHECK(join_results({attacked, judgement(0, "dm", "1", {1})})[0].attacks().empty());
}

TEST_CASE("results on other data stand apart and say so, as do mixed versions", "[sweep]") {
  auto first = judgement(0, "dm", "0", {60, 70});
  auto second = judgement(0, "dm", "1", {80, 80});
  first.version = "1.0";
  second.version = "1.1";
  auto joined = join_results({first, second});
  CHECK(joined[0].sets.size() == 2);
  REQUIRE(notes_on(joined).size() == 1);
  CHECK_THAT(notes_on(joined)[0], Contains("dm, dataset d, ipc 1") &&
                                      Contains("different versions of the program, 1.0, 1.1"));
  second.version = first.version;
  CHECK(notes_on(join_results({first, second})).empty());
  second.document["dataset_sha256"] = std::string(64, 'b');
  joined = join_results({first, second});
  CHECK(joined.size() == 4);  // baselines too
  CHECK(joined[0].sets.size() == 1);
  REQUIRE_FALSE(notes_on(joined).empty());
  CHECK_THAT(notes_on(joined)[0],
             Contains("their datasets differ, SHA-256 aaaaaaaaaaaa... and bbbb"));
  CHECK_THAT(table_text({.rows = joined, .notes = notes_on(joined), .cells = 2, .finished = 2}),
             Contains("results stand apart"));
}

TEST_CASE("a baseline keeps what its evaluation differs in", "[sweep]") {
  auto plain = judgement(0, "dm", "0", {60});
  auto other = judgement(1, "dm", "0", {50});
  plain.how = {{"images-per-class", "5"}};
  other.how = {{"images-per-class", "9"}};
  const auto rows = join_results({plain, other});
  REQUIRE(rows.size() == 4);
  CHECK(value_of(rows[1].labels, "images-per-class") == "5");
  CHECK(value_of(rows[1].labels, "lr").empty());
  CHECK(value_of(rows[3].labels, "images-per-class") == "9");
}
