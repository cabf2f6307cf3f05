// The numbers of presets of decoupled methods against the papers' tables.
#include <map>
#include <string>
#include <vector>

#include "tests/experiments/resolved_presets.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;

TEST_CASE("a recovering method with nothing set does what its README says",
          "[experiments][defaults]") {
  struct Row {
    std::string method;
    double iterations;
    double lr_images;
    double r_bn;
    double crop_area;
    std::string curriculum;
    std::string flip;
    std::string committee;  // empty: has no such choice
    std::string init;
    std::string layout;
    std::string statistics;
  };
  const std::vector<Row> rows{
      {"sre2l", 1000, 0.25, 0.01, 1, "none", "none", "single", "gaussian", "across-class",
       "global"},
      {"cda", 4000, 0.4, 0.05, 0.08, "cosine", "auto", "single", "gaussian", "across-class",
       "global"},
      {"sc-dd", 1000, 0.4, 0.005, 1, "none", "none", "single", "gaussian", "across-class",
       "global"},
      {"lpld", 4000, 0.1, 0.05, 0.08, "none", "auto", "single", "gaussian", "within-class",
       "class"},
      {"cv-dd", 4000, 0.25, 0.01, 0.08, "none", "auto", "pairs", "mosaic", "across-class",
       "global"},
      {"infer", 1000, 0.25, 1, 1, "none", "none", "", "", "", ""},
  };
  for (const Row& row : rows) {
    INFO(row.method);
    const Preset defaults = untouched(row.method);
    CHECK(defaults.number("iterations") == row.iterations);
    CHECK(defaults.number("lr-images") == row.lr_images);
    CHECK(defaults.number("r-bn") == row.r_bn);
    CHECK(defaults.number("first-bn-multiplier") == 10);
    CHECK(defaults.number("crop-area") == row.crop_area);
    CHECK(defaults.text("curriculum") == row.curriculum);
    CHECK(defaults.number("milestone") == 1);
    CHECK(defaults.text("flip") == row.flip);
    CHECK(defaults.number("roll") == 4);
    CHECK(defaults.text("roll-both-ways") == (row.method == "lpld" ? "true" : "false"));
    CHECK(defaults.number("tv") == 0);
    CHECK(defaults.number("l2") == 0);
    CHECK(defaults.text("teachers").empty());
    CHECK(defaults.options.count("committee") == (row.committee.empty() ? 0 : 1));
    if (row.committee.empty()) continue;
    CHECK(defaults.text("committee") == row.committee);
    CHECK(defaults.number("vote-temperature") == 5);
    CHECK(defaults.text("init") == row.init);
    CHECK(defaults.text("layout") == row.layout);
    CHECK(defaults.text("statistics") == row.statistics);
    CHECK(defaults.number("batch-images") == 100);
  }
}

TEST_CASE("the presets of recovering methods hold the papers' tables", "[experiments][presets]") {
  struct Row {
    double lr_images;
    double r_bn;
    double iterations;
    bool views;  // crops from 0.08 of the image on, and a coin for the mirror
  };
  const auto row = [](const Preset& preset) -> Row {
    const bool tiny = preset.is_tiny();
    const std::map<std::string, Row> table{
        {"sre2l", tiny ? Row{0.1, 1, 4000, true} : Row{0.25, 0.01, 1000, false}},
        {"sre2l/plus", {0.25, 0.01, 4000, true}},
        {"cda", {0.4, 0.05, 4000, true}},
        {"sc-dd", {0.4, 0.005, 1000, false}},
        {"lpld", {0.1, 0.05, 4000, true}},
        {"cv-dd", {0.25, 0.01, 4000, true}},
        {"infer", {0.25, 1, 1000, false}}};
    return table.at(preset.family);
  };
  const auto count = for_each_of(
      {"sre2l", "sre2l/plus", "cda", "sc-dd", "lpld", "cv-dd", "infer"}, [&](const Preset& preset) {
        const Row expected = row(preset);
        CHECK(preset.number("lr-images") == expected.lr_images);
        CHECK(preset.number("r-bn") == expected.r_bn);
        CHECK(preset.number("iterations") == expected.iterations);
        CHECK(preset.number("crop-area") == (expected.views ? 0.08 : 1));
        CHECK(preset.text("flip") == (expected.views ? "coin" : "none"));
        CHECK(preset.number("roll") == 4);
        const bool both_ways =
            preset.family == "lpld" || (preset.family == "sre2l" && preset.is_tiny());
        CHECK(preset.text("roll-both-ways") == (both_ways ? "true" : "false"));
        if (preset.family == "infer") return;
        const bool plus = preset.family == "cv-dd" || preset.family == "sre2l/plus";
        CHECK(preset.text("init") == (plus ? "mosaic" : "gaussian"));
        CHECK(preset.text("curriculum") == (preset.family == "cda" ? "cosine" : "none"));
        CHECK(preset.text("committee") == (preset.family == "cv-dd" ? "pairs" : "single"));
        CHECK(preset.number("batch-images") == 100);
      });
  CHECK(count == 4 + 9 + 2 + 1 + 2 + 9 + 5);
}

TEST_CASE("presets of decoupled methods train the teachers of their papers",
          "[experiments][presets]") {
  struct Row {
    std::string recipe;
    double epochs;
    std::string settings;  ///< beside the recipe's own
  };
  const Row squeezed{
      "sgd", 50, "lr=0.2,weight-decay=0.0001,batch-size=256,warmup-epochs=5,augmentation=rrc_flip"};
  const Row committee{"sgd", 50, "lr=0.01,weight-decay=0.0001,batch-size=128"};
  const std::map<std::string, Row> tiny{{"sre2l", squeezed},
                                        {"cda", squeezed},
                                        {"lpld", squeezed},
                                        {"sre2l/plus", committee},
                                        {"cv-dd", committee}};
  const std::map<std::string, Row> cifar{
      {"sre2l", {"sgd", 200, ""}}, {"sre2l/plus", {"adam", 200, ""}}, {"cv-dd", {"adam", 200, ""}}};
  const auto count =
      for_each_of({"sre2l", "sre2l/plus", "cda", "lpld", "cv-dd"}, [&](const Preset& preset) {
        const Row& row = (preset.is_tiny() ? tiny : cifar).at(preset.family);
        CHECK(preset.text("make-recipe") == row.recipe);
        CHECK(preset.number("make-epochs") == row.epochs);
        CHECK(preset.text("make-settings") == row.settings);
        const bool shifted = preset.is_tiny() && row.settings == committee.settings;
        const auto said = preset.header.find("shifted by up to 8 pixels where the code has 4");
        CHECK((said != std::string::npos) == shifted);
      });
  CHECK(count == 4 + 9 + 2 + 2 + 9);
}

TEST_CASE("the presets of RDED look at 5 crops of 300 images, as the code",
          "[experiments][presets]") {
  const auto count = for_each_of({"rded", "rded/convnet"}, [](const Preset& preset) {
    CHECK(preset.number("crop-images") == 300);
    CHECK(preset.number("crops") == 5);
    CHECK(preset.number("crop-smallest-area") == 0.08);
    CHECK(preset.number("mosaic") == 1);
    CHECK(preset.number("crop-offset") == 0);
    const std::string net = preset.family == "rded" ? "R18m" : convnet(preset) + "-BN";
    CHECK(preset.text("teacher-names") == net);
  });
  CHECK(count == 18);
}
