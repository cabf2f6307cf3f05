// The numbers of presets of matching methods against the papers' tables.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/experiments/resolved_presets.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;

TEST_CASE("a method with nothing set does what its README says", "[experiments][defaults]") {
  struct Row {
    std::string method;
    std::string net;
    double iterations;
    double batch_real;
    std::string image_optimizer;
    double lr_images;
    double image_momentum;
    std::string init;
    std::string networks;
    std::string augmentation;
  };
  // -1: 1000 networks' worth, known with the ipc.
  const std::vector<Row> rows{
      {"dm", "ConvNet-3", 20000, 256, "sgd", 1, 0.5, "random", "fresh", "auto"},
      {"datadam", "ConvNet-3-BN", 20000, 64, "sgd", 1, 0.5, "random", "fresh", "auto"},
      {"dc", "ConvNet-3", -1, 256, "sgd", 0.1, 0.5, "noise", "synthetic", "none"},
      {"dsa", "ConvNet-3", -1, 256, "sgd", 0.1, 0.5, "random", "synthetic", "auto"},
      {"idc", "ConvNet-3", 200000, 64, "class-loop", 0.005, 0.5, "first", "trained",
       "color_crop_cutout"},
      {"gm", "ConvNet-3", 200, 64, "adam", 0.02, 0.9, "random", "trained", "auto"},
  };
  for (const Row& row : rows) {
    INFO(row.method);
    const Preset defaults = untouched(row.method);
    CHECK(defaults.text("net") == row.net);
    CHECK(defaults.number("iterations") == row.iterations);
    CHECK(defaults.number("batch-real") == row.batch_real);
    CHECK(defaults.text("image-optimizer") == row.image_optimizer);
    CHECK(defaults.number("lr-images") == row.lr_images);
    CHECK(defaults.number("image-momentum") == row.image_momentum);
    CHECK(defaults.text("init") == row.init);
    CHECK(defaults.text("networks") == row.networks);
    CHECK(defaults.text("augmentation") == row.augmentation);
    CHECK(defaults.text("lr-images-schedule") == "constant");
    CHECK(defaults.text("augmentation-style") == (row.method == "idc" ? "idc" : "dsa"));
    CHECK(defaults.number("factor") == (row.method == "idc" ? 2 : 1));
    CHECK(defaults.number("networks-per-iteration") == 1);
    CHECK(defaults.number("image-ema") == 0);
    CHECK(defaults.text("fyi") == "false");
  }
  CHECK(untouched("dm").text("discrepancy") == "mean");
  CHECK(untouched("datadam").number("power") == 1);
  CHECK(untouched("datadam").number("lambda") == 0.01);
  for (const std::string method : {"dc", "dsa", "gm"}) {
    CHECK(untouched(method).text("metric") == "rows");
  }
  for (const std::string method : {"dc", "dsa"}) {
    INFO(method);
    const Preset defaults = untouched(method);
    CHECK(defaults.number("net-lr") == 0.01);
    CHECK(defaults.number("net-batch") == 256);
    CHECK(defaults.number("net-momentum") == 0);
    CHECK(defaults.number("net-weight-decay") == 0);
    CHECK(defaults.text("net-augmentation") == (method == "dsa" ? "auto" : "none"));
  }
  const Preset idc = untouched("idc");
  CHECK(idc.text("metric") == "mse");
  CHECK(idc.text("match-parameters") == "convolutions");
  CHECK(idc.text("image-space") == "pixels");
  CHECK(idc.text("real-batches") == "stream");
  CHECK(idc.number("clamp-every") == 100);
  CHECK(idc.number("max-decoded") == 128);
  CHECK(idc.number("net-period") == 100);
  CHECK(idc.number("net-steps") == 32);
  CHECK(idc.number("net-batch") == 64);
  CHECK(idc.number("net-cutmix") == 0.5);
}

TEST_CASE("the presets of DM hold its table", "[experiments][presets]") {
  const auto count = for_each_of({"dm", "dm-fyi"}, [](const Preset& preset) {
    CHECK(preset.number("iterations") == 20000);
    CHECK(preset.number("lr-images") == (preset.ipc >= 100 ? 10 : 1));
    CHECK(preset.number("image-momentum") == 0.5);
    CHECK(preset.text("image-optimizer") == "sgd");
    CHECK(preset.number("batch-real") == 256);
    CHECK(preset.text("init") == "random");
    CHECK(preset.text("networks") == "fresh");
    CHECK(preset.text("augmentation") == "auto");
    CHECK(preset.text("net") == convnet(preset));
    const bool mirrored = preset.family == "dm-fyi";
    CHECK(preset.text("fyi") == (mirrored ? "true" : "false"));
    CHECK(preset.text("augmentation-style") == (mirrored ? "fyi" : "dsa"));
  });
  CHECK(count == 17 + 9);
}

TEST_CASE("the presets of DC and DSA hold their loops", "[experiments][presets]") {
  struct Row {
    std::int64_t matching_steps, epochs;  // T, E
  };
  const auto row = [](const Preset& preset) -> Row {
    // What the authors tried above 50 images, and what FYI took.
    if (preset.name == "dsa/cifar10-ipc100") return {100, 2};
    if (preset.name == "dsa-fyi/cifar100-ipc50") return {10, 10};
    const std::map<std::int64_t, Row> table{{1, {1, 1}}, {10, {10, 50}}, {50, {50, 10}}};
    return table.at(preset.ipc);
  };
  const auto count = for_each_of({"dc", "dsa", "dc-fyi", "dsa-fyi"}, [&](const Preset& preset) {
    const bool augmented = preset.family.starts_with("dsa");
    CHECK(preset.number("net-period") == row(preset).matching_steps);
    CHECK(preset.number("net-epochs") == row(preset).epochs);
    CHECK(preset.number("iterations") == 1000 * row(preset).matching_steps);
    CHECK(preset.number("lr-images") == 0.1);
    CHECK(preset.number("image-momentum") == 0.5);
    CHECK(preset.number("batch-real") == 256);
    CHECK(preset.text("networks") == "synthetic");
    CHECK(preset.number("net-lr") == 0.01);
    CHECK(preset.number("net-momentum") == 0);
    CHECK(preset.number("net-weight-decay") == 0);
    CHECK(preset.number("net-batch") == 256);
    CHECK(preset.text("init") == (augmented ? "random" : "noise"));
    CHECK(preset.text("augmentation") == (augmented ? "auto" : "none"));
    CHECK(preset.text("net-augmentation") == (augmented ? "auto" : "none"));
    CHECK(preset.text("net") == convnet(preset));
    const bool mirrored = preset.family.ends_with("-fyi");
    CHECK(preset.text("fyi") == (mirrored ? "true" : "false"));
    CHECK(preset.text("augmentation-style") == (mirrored && augmented ? "fyi" : "dsa"));
  });
  CHECK(count == 15 + 16 + 5 + 6);
}

TEST_CASE("the presets of DataDAM hold the code's defaults or the published table",
          "[experiments][presets]") {
  const auto count = for_each_of({"datadam", "datadam/paper"}, [](const Preset& preset) {
    const bool paper = preset.family == "datadam/paper";
    CHECK(preset.number("power") == (paper ? 4 : 1));
    CHECK(preset.number("lambda") == (paper && preset.is_tiny() ? 0.02 : 0.01));
    CHECK(preset.text("net") == convnet(preset) + (paper ? "" : "-BN"));
    CHECK(preset.number("iterations") == (paper ? 8000 : 20000));
    CHECK(preset.number("lr-images") == 1);  // all have at most 50 images per class
    CHECK(preset.ipc <= 50);
    CHECK(preset.number("image-momentum") == 0.5);
    CHECK(preset.number("batch-real") == 64);
    CHECK(preset.text("init") == "random");
    CHECK(preset.text("networks") == "fresh");
    CHECK(preset.text("augmentation") == "auto");
  });
  CHECK(count == 9 + 9);
}

TEST_CASE("the presets of IDC hold its table", "[experiments][presets]") {
  const auto count = for_each_of({"idc", "idc-i", "idc-fyi"}, [](const Preset& preset) {
    const bool single = preset.family == "idc-i";
    const bool packed_digits = preset.dataset == "mnist" && !single;
    CHECK(preset.number("factor") == (single ? 1 : 2));
    CHECK(preset.text("metric") == (preset.is_cifar() ? "mse" : "l1"));
    CHECK(preset.number("lr-images") == (preset.is_cifar() ? 5e-3 : 1e-4));
    CHECK(preset.number("lr-reference-side") == (preset.dataset == "mnist" ? 28 : 32));
    CHECK(preset.number("net-steps") == (preset.is_cifar() ? 32 : 8));
    CHECK(preset.number("iterations") == 2000 * 100);
    CHECK(preset.number("net-period") == 100);
    CHECK(preset.text("augmentation") == (packed_digits ? "color_crop" : "color_crop_cutout"));
    CHECK(preset.number("net-cutmix") == (packed_digits ? 0 : 0.5));
    CHECK(preset.text("image-optimizer") == "class-loop");
    CHECK(preset.text("image-space") == "pixels");
    CHECK(preset.number("clamp-every") == 100);
    CHECK(preset.number("batch-real") == 64);
    CHECK(preset.number("max-decoded") == 128);
    CHECK(preset.text("init") == "first");
    CHECK(preset.number("net-lr") == 0.01);
    CHECK(preset.number("net-momentum") == 0.9);
    CHECK(preset.number("net-weight-decay") == 5e-4);
    CHECK(preset.text("fyi") == (preset.family == "idc-fyi" ? "true" : "false"));
  });
  CHECK(count == 12 + 11 + 5);
}

TEST_CASE("presets for one core differ in what their methods need only", "[experiments][presets]") {
  struct Row {
    std::string name;
    double iterations;
    double lr_images;
    std::string networks;
    double net_period;
  };
  const std::vector<Row> rows{
      {"datadam/instance-norm-cifar10-ipc10-cpu", 349, 0.02, "trained", 100},
      {"dsa/cifar10-ipc10-cpu", 103, 0.02, "synthetic", 10},
      {"idc/cifar10-ipc10-cpu", 116, 0.005, "trained", 100},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto found = std::find_if(presets().begin(), presets().end(),
                                    [&](const Preset& p) { return p.name == row.name; });
    REQUIRE(found != presets().end());
    CHECK_THAT(found->header, Contains("1 synthesis seed x 3 networks"));
    CHECK(found->text("net") == "ConvNet-3");
    CHECK(found->text("init") == "k-means");
    CHECK(found->text("features") == "pixels");
    CHECK(found->number("factor") == 2);
    CHECK(found->number("batch-real") == 64);
    CHECK(found->text("image-optimizer") == "adam");
    CHECK(found->number("image-momentum") == 0.9);
    CHECK(found->number("lr-images") == row.lr_images);
    CHECK(found->number("iterations") == row.iterations);
    CHECK(found->text("networks") == row.networks);
    CHECK(found->number("net-period") == row.net_period);
  }
}
