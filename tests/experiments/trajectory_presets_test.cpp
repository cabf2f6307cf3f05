// The numbers of presets of trajectory methods against the papers' tables.
#include <map>
#include <string>
#include <vector>

#include "tests/experiments/resolved_presets.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;

TEST_CASE("a trajectory method with nothing set does what its README says",
          "[experiments][defaults]") {
  struct Row {
    std::string method;
    double iterations;
    double syn_steps;
    double expert_epochs;
    double max_start_epoch;
    double current_max_start_epoch;
    double threshold;
    std::string labels;
    std::string init;
    double image_ema;
    double inner_momentum;
    std::string intermediate;
    std::string gradient;
  };
  const std::vector<Row> rows{
      {"mtt", 5000, 20, 3, 25, 0, 0, "hard", "random", 0, 0, "none", "sweep"},
      {"ftd", 5000, 20, 3, 25, 0, 0, "hard", "random", 0.9995, 0, "none", "sweep"},
      {"datm", 10000, 80, 2, 40, 20, 1, "learned", "right", 0, 0, "none", "sweep"},
      {"ast", 5000, 20, 3, 20, 0, 0, "hard", "representative", 0, 0.9, "equal", "sweep"},
      {"tesla", 10000, 20, 3, 25, 0, 0, "hard", "random", 0, 0, "none", "tesla"},
  };
  for (const Row& row : rows) {
    INFO(row.method);
    const Preset defaults = untouched(row.method);
    CHECK(defaults.text("net") == "ConvNet");
    CHECK(defaults.text("experts").empty());
    CHECK(defaults.number("make-experts") == 5);
    CHECK(defaults.number("iterations") == row.iterations);
    CHECK(defaults.number("syn-steps") == row.syn_steps);
    CHECK(defaults.number("batch-syn") == 0);
    CHECK(defaults.number("expert-epochs") == row.expert_epochs);
    CHECK(defaults.number("min-start-epoch") == 0);
    CHECK(defaults.number("max-start-epoch") == row.max_start_epoch);
    CHECK(defaults.number("current-max-start-epoch") == row.current_max_start_epoch);
    CHECK(defaults.number("threshold") == row.threshold);
    CHECK(defaults.number("lr-images") == 1000);
    CHECK(defaults.number("lr-lr") == 1e-5);
    CHECK(defaults.number("lr-teacher") == 0.01);
    CHECK(defaults.number("image-momentum") == 0.5);
    CHECK(defaults.number("lr-momentum") == 0.5);
    CHECK(defaults.number("lr-labels") == 2);
    CHECK(defaults.number("label-momentum") == 0.9);
    CHECK(defaults.text("labels") == row.labels);
    CHECK(defaults.text("init") == row.init);
    CHECK(defaults.number("image-ema") == row.image_ema);
    CHECK(defaults.number("inner-momentum") == row.inner_momentum);
    CHECK(defaults.text("intermediate") == row.intermediate);
    const std::string smoothed = row.method == "ast" ? "true" : "false";
    CHECK(defaults.text("perturb-weights") == smoothed);
    CHECK(defaults.text("balanced-loss") == smoothed);
    CHECK(defaults.text("gradient") == row.gradient);
    CHECK(defaults.text("tesla-halving") == "false");
    CHECK(defaults.text("clamp-lr") == "false");
    CHECK(defaults.text("augmentation") == "auto");
    CHECK(defaults.text("augmentation-style") == "mtt");
    CHECK(defaults.text("fyi") == "false");
    CHECK(defaults.number("factor") == 1);
  }
  CHECK(untouched("datm").number("expansion-end") == 3000);
  CHECK(untouched("datm").text("label-init") == "right");
}

namespace {

/// A row of the trajectory methods' tables: N, M, exclusive bound of the start epochs, b (0: all),
/// step sizes of images and of the step size, and that step size at first.
struct TrajectoryRow {
  bool zca;
  double syn_steps, expert_epochs, max_start_epoch, batch_syn, lr_images, lr_lr, lr_teacher;
};

void check_row(const Preset& preset, const TrajectoryRow& row, double iterations) {
  CHECK(preset.zca == row.zca);
  CHECK(preset.number("iterations") == iterations);
  CHECK(preset.text("net") == convnet(preset));
  CHECK(preset.number("syn-steps") == row.syn_steps);
  CHECK(preset.number("expert-epochs") == row.expert_epochs);
  CHECK(preset.number("max-start-epoch") == row.max_start_epoch);
  CHECK(preset.number("batch-syn") == row.batch_syn);
  CHECK(preset.number("lr-images") == row.lr_images);
  CHECK(preset.number("lr-lr") == row.lr_lr);
  CHECK(preset.number("lr-teacher") == row.lr_teacher);
  CHECK(preset.number("image-momentum") == 0.5);
  CHECK(preset.number("lr-momentum") == 0.5);
  CHECK(preset.text("augmentation-style") == "mtt");
  CHECK(preset.text("experts").empty());
  CHECK(preset.number("make-experts") == 100);
}

}  // namespace

TEST_CASE("the presets of MTT hold its table", "[experiments][presets]") {
  const std::map<std::string, TrajectoryRow> table{
      {"mtt/cifar10-ipc1", {true, 50, 2, 2, 0, 100, 1e-7, 0.01}},
      {"mtt/cifar10-ipc10", {true, 30, 2, 20, 0, 100, 1e-5, 0.001}},
      {"mtt/cifar10-ipc50", {false, 30, 2, 40, 0, 1000, 1e-5, 0.001}},
      {"mtt/cifar100-ipc1", {true, 20, 3, 20, 0, 1000, 1e-5, 0.01}},
      {"mtt/cifar100-ipc10", {false, 20, 2, 20, 0, 1000, 1e-5, 0.01}},
      {"mtt/cifar100-ipc50", {true, 80, 2, 40, 125, 1000, 1e-5, 0.01}},
      {"mtt/tiny-imagenet-ipc1", {false, 10, 2, 10, 0, 1e4, 1e-4, 0.01}},
      {"mtt/tiny-imagenet-ipc10", {false, 20, 2, 40, 200, 1e4, 1e-4, 0.01}},
      {"mtt/tiny-imagenet-ipc50", {false, 20, 2, 40, 300, 1e4, 1e-4, 0.01}},
  };
  const auto count = for_each_of({"mtt"}, [&](const Preset& preset) {
    check_row(preset, table.at(preset.name), 5000);
    CHECK(preset.text("gradient") == "sweep");
    CHECK(preset.text("labels") == "hard");
    CHECK(preset.text("init") == "random");
    CHECK(preset.number("threshold") == 0);
    CHECK(preset.number("image-ema") == 0);
  });
  CHECK(count == table.size());
}

TEST_CASE("the presets of FTD hold its table", "[experiments][presets]") {
  struct Row {
    TrajectoryRow row;
    double decay;
    std::string coefficient;  ///< of the experts' GSAM
  };
  const std::map<std::string, Row> table{
      {"ftd/cifar10-ipc1", {{true, 50, 2, 2, 0, 100, 1e-7, 0.01}, 0.9999, "0.3"}},
      {"ftd/cifar10-ipc10", {{true, 30, 2, 20, 0, 100, 1e-5, 0.001}, 0.9995, "0.3"}},
      {"ftd/cifar10-ipc50", {{false, 30, 2, 40, 0, 1000, 1e-5, 0.01}, 0.999, "1"}},
      {"ftd/cifar100-ipc1", {{true, 40, 3, 20, 0, 1000, 1e-5, 0.01}, 0.9995, "1"}},
      {"ftd/cifar100-ipc10", {{true, 20, 2, 40, 0, 1000, 1e-5, 0.01}, 0.9995, "1"}},
      {"ftd/cifar100-ipc50", {{true, 80, 2, 40, 1000, 1000, 1e-5, 0.01}, 0.999, "1"}},
      {"ftd/tiny-imagenet-ipc1", {{false, 30, 2, 10, 0, 1e4, 1e-4, 0.01}, 0.999, "1"}},
      {"ftd/tiny-imagenet-ipc10", {{false, 20, 2, 40, 500, 1e4, 1e-4, 0.01}, 0.999, "1"}},
  };
  const auto count = for_each_of({"ftd"}, [&](const Preset& preset) {
    const Row& row = table.at(preset.name);
    check_row(preset, row.row, 5000);
    CHECK(preset.number("image-ema") == row.decay);
    CHECK_THAT(preset.whole,
               Contains("recipe ftd, rho 0.01, GSAM coefficient " + row.coefficient + "."));
    // The recipe's own is 0.3.
    CHECK(preset.text("make-settings") == (row.coefficient == "1" ? "gsam-alpha=1" : ""));
  });
  CHECK(count == table.size());
}

TEST_CASE("the presets of DATM hold its configurations", "[experiments][presets]") {
  struct Row {
    TrajectoryRow row;
    double lr_labels, min_start_epoch, current_max_start_epoch, expansion_end;
  };
  const std::map<std::string, Row> table{
      {"datm/cifar10-ipc1", {{true, 80, 2, 4, 10, 100, 1e-7, 0.01}, 5, 0, 0, 0}},
      {"datm/cifar10-ipc10", {{true, 80, 2, 20, 100, 100, 1e-5, 0.01}, 2, 0, 10, 1000}},
      {"datm/cifar10-ipc50", {{true, 80, 2, 40, 500, 1000, 1e-5, 0.01}, 2, 0, 20, 2000}},
      {"datm/cifar10-ipc500", {{true, 40, 2, 60, 1000, 50, 1e-5, 0.01}, 10, 40, 0, 0}},
      {"datm/cifar10-ipc1000", {{true, 100, 2, 60, 1000, 50, 1e-5, 0.01}, 10, 40, 0, 0}},
      {"datm/cifar100-ipc1", {{true, 40, 3, 20, 0, 1000, 1e-5, 0.01}, 10, 0, 10, 1000}},
      {"datm/cifar100-ipc10", {{true, 80, 2, 50, 1000, 1000, 1e-5, 0.01}, 10, 0, 30, 2000}},
      {"datm/cifar100-ipc50", {{true, 80, 2, 70, 1000, 1000, 1e-5, 0.01}, 10, 20, 0, 0}},
      {"datm/cifar100-ipc100", {{true, 80, 2, 70, 1000, 50, 1e-5, 0.01}, 10, 30, 0, 0}},
      {"datm/tiny-imagenet-ipc1", {{true, 40, 2, 20, 0, 1e4, 1e-4, 0.01}, 10, 0, 15, 2000}},
      {"datm/tiny-imagenet-ipc10", {{true, 40, 2, 50, 500, 100, 1e-4, 0.01}, 10, 10, 0, 0}},
      {"datm/tiny-imagenet-ipc50", {{true, 20, 2, 70, 1000, 100, 1e-4, 0.01}, 10, 40, 0, 0}},
  };
  const auto count = for_each_of({"datm"}, [&](const Preset& preset) {
    const Row& row = table.at(preset.name);
    check_row(preset, row.row, 10000);
    CHECK(preset.number("lr-labels") == row.lr_labels);
    CHECK(preset.number("label-momentum") == 0.9);
    CHECK(preset.number("min-start-epoch") == row.min_start_epoch);
    CHECK(preset.number("current-max-start-epoch") == row.current_max_start_epoch);
    CHECK(preset.number("expansion-end") == row.expansion_end);
    CHECK(preset.number("threshold") == (preset.name == "datm/cifar10-ipc1" ? 1.1 : 1));
    CHECK(preset.text("labels") == "learned");
    const bool random = preset.name == "datm/cifar100-ipc50";
    CHECK(preset.text("init") == (random ? "random" : "right"));
    CHECK(preset.text("label-init") == (random ? "first" : "right"));
    CHECK_THAT(preset.whole, Contains("recipe ftd, 100 epochs, rho 0.01, GSAM coefficient 0.3"));
  });
  CHECK(count == table.size());
}

TEST_CASE("the presets of TESLA and AST hold their authors' settings", "[experiments][presets]") {
  const std::map<std::string, TrajectoryRow> table{
      {"tesla/cifar10-ipc1", {false, 50, 2, 5, 0, 1000, 1e-7, 0.01}},
      {"tesla/cifar100-ipc50", {true, 80, 2, 40, 125, 1000, 1e-5, 0.01}},
      {"ast/cifar10-ipc10", {true, 30, 2, 20, 0, 100, 1e-6, 0.01}},
      {"ast/cifar100-ipc1", {true, 20, 3, 20, 0, 1000, 1e-5, 0.01}},
      {"ast/script-cifar100-ipc1", {false, 40, 3, 15, 0, 100, 1e-5, 0.01}},
      {"ast/cifar100-ipc10", {false, 20, 2, 30, 128, 1000, 1e-5, 0.01}},
      {"ast/cifar100-ipc50", {false, 80, 2, 40, 700, 1000, 1e-5, 0.01}},
      {"ast/tiny-imagenet-ipc1", {false, 10, 2, 10, 0, 1e4, 1e-4, 0.01}},
  };
  const auto count = for_each_of({"tesla", "ast", "ast/script"}, [&](const Preset& preset) {
    const bool tesla = preset.family == "tesla";
    check_row(preset, table.at(preset.name), tesla ? 10000 : 5000);
    CHECK(preset.text("gradient") == (tesla ? "tesla" : "sweep"));
    CHECK(preset.text("tesla-halving") == (tesla ? "true" : "false"));
    const bool plain = tesla || preset.name == "ast/cifar100-ipc50";
    CHECK(preset.text("perturb-weights") == (plain ? "false" : "true"));
    CHECK(preset.text("intermediate") == (plain ? "none" : "equal"));
    CHECK(preset.text("balanced-loss") == (tesla ? "false" : "true"));
    CHECK(preset.number("inner-momentum") == (tesla ? 0 : 0.9));
    CHECK(preset.text("init") == (tesla ? "random" : "representative"));
  });
  CHECK(count == table.size());
}
