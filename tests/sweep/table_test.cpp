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
  CHECK_THAT(text, Contains("3 of 4 cells are finished"));
  CHECK_THAT(text, Contains("70.00 ± 7.07          5.00"));
  CHECK_THAT(text, Contains("random  d        1    -"));
  const std::string csv = table_csv(table());
  CHECK_THAT(csv, Contains("method,dataset,ipc,lr,beside,protocol,network,accuracy,std,"));
  CHECK_THAT(csv, Contains("dm,d,1,\"0.1,0.2\",,p,Net_1,70,7.07"));
  CHECK_THAT(csv, Contains(",d,1,,random,p,Net_1,51,1,,1,2,20,2000,8,0,4"));
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
