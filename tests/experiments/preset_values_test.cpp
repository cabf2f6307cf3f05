// The numbers of the presets against the papers' tables.
#include <algorithm>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "experiments/protocols.h"
#include "experiments/texts.h"
#include "lib/config/options.h"
#include "methods/method.h"
#include "tests/support/catch.h"

using namespace retort;
using Catch::Matchers::Contains;

namespace {

/// A preset as a run would see it.
struct Preset {
  std::string name;
  std::string family;  ///< its folder: "dm", "datadam/paper", ..., or "cpu"
  std::string header;
  std::string whole;  ///< the file's text
  std::string dataset;
  std::int64_t ipc = 0;
  bool zca = false;
  std::map<std::string, std::string> options;  ///< of the method, resolved and settled

  const std::string& text(const std::string& option) const { return options.at(option); }
  double number(const std::string& option) const { return std::stod(text(option)); }
  bool is_tiny() const { return dataset == "tiny-imagenet"; }
  bool is_cifar() const { return dataset.starts_with("cifar"); }
};

/// "datadam/paper-cifar10-ipc1" -> "datadam/paper": what stands before dataset and ipc. Those that
/// one core or two can afford are a family of their own, whatever the method.
std::string family_of(const std::string& name, const std::string& dataset, std::int64_t ipc) {
  if (name.ends_with("-cpu")) return "cpu";
  const std::string ending = dataset + "-ipc" + std::to_string(ipc);
  REQUIRE(name.ends_with(ending));
  return name.substr(0, name.size() - ending.size() - 1);
}

Preset resolve(const experiments::TextFile& file) {
  Preset preset;
  preset.name = file.name;
  preset.header = file.text.substr(0, file.text.find('\n'));
  preset.whole = file.text;
  std::map<std::string, std::string> given;
  for (const auto& entry : config::parse_config(file.text, file.name)) {
    given[entry.key] = entry.value;
  }
  preset.dataset = given.at("dataset");
  preset.ipc = std::stoll(given.at("ipc"));
  preset.zca = given.count("zca") > 0 && given.at("zca") == "true";
  preset.family = family_of(file.name, preset.dataset, preset.ipc);
  const auto factory = methods::find_method(given.at("method")).factory();
  config::OptionTable table = factory->options();
  for (const auto& [key, value] : given) {
    if (table.contains(key)) table.set(key, value, config::Origin::Preset);
  }
  factory->settle(preset.ipc);
  preset.options = factory->options().resolved();
  return preset;
}

/// What a method does when nothing is set, before an ipc is known.
Preset untouched(const std::string& method) {
  Preset defaults;
  defaults.name = method;
  defaults.options = methods::find_method(method).factory()->options().resolved();
  return defaults;
}

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = [] {
    std::vector<Preset> resolved;
    for (const auto& file : experiments::preset_files()) resolved.push_back(resolve(file));
    return resolved;
  }();
  return all;
}

/// @return how many there are, so that a test can tell when it looks at none
template <class Check>
std::size_t for_each_of(const std::vector<std::string>& families, const Check& check) {
  std::size_t count = 0;
  for (const Preset& preset : presets()) {
    if (std::find(families.begin(), families.end(), preset.family) == families.end()) continue;
    INFO(preset.name);
    check(preset);
    ++count;
  }
  return count;
}

/// The protocol that a header names; none when it says that there is none.
std::optional<std::string> protocol_in(const std::string& header) {
  if (header.find("no protocol here") != std::string::npos) return std::nullopt;
  std::smatch found;
  REQUIRE(std::regex_search(header, found, std::regex("protocol ([a-z0-9-]+)")));
  return found[1].str();
}

/// "option=value" of "protocol rded with batch-size = 25, lr = 0.002, ...".
std::vector<std::string> protocol_changes_in(const std::string& header) {
  std::smatch found;
  if (!std::regex_search(header, found,
                         std::regex("protocol [a-z0-9-]+ with (([a-z-]+ = [0-9.]+(, )?)+)"))) {
    return {};
  }
  std::vector<std::string> changes;
  const std::string list = found[1].str();
  const std::regex one("([a-z-]+) = ([0-9.]+)");
  for (std::sregex_iterator it(list.begin(), list.end(), one), end; it != end; ++it) {
    changes.push_back((*it)[1].str() + "=" + (*it)[2].str());
  }
  return changes;
}

std::string convnet(const Preset& preset) { return preset.is_tiny() ? "ConvNet-4" : "ConvNet-3"; }

}  // namespace

TEST_CASE("every preset's header names a protocol that exists, or says that none fits",
          "[experiments][presets]") {
  const std::map<std::string, std::string> protocols{
      {"demo", "dsa-300"}, {"cpu", "dsa-300"},    {"dm", "dm"},       {"dc", "dc"},
      {"dsa", "dsa"},      {"dm-fyi", "fyi"},     {"dc-fyi", "dc"},   {"dsa-fyi", "fyi"},
      {"idc", "idc"},      {"idc-i", "idc"},      {"idc-fyi", "idc"}, {"datadam", "datadam"},
      {"mtt", "mtt"},      {"ftd", "mtt"},        {"tesla", "mtt"},   {"datm", "datm"},
      {"ast", "ast"},      {"ast/script", "ast"}, {"cda", "cda"},     {"sre2l/plus", "cv-dd"},
      {"cv-dd", "cv-dd"},  {"infer", "infer"},    {"rded", "rded"},   {"rded/convnet", "rded"}};
  const auto expected = [&](const Preset& preset) {
    if (preset.family != "sre2l") return protocols.at(preset.family);
    return std::string(preset.is_tiny() ? "fkd-100-tiny" : "fkd-400-cifar");
  };
  const auto known = experiments::protocol_names();
  for (const Preset& preset : presets()) {
    INFO(preset.name << ": " << preset.header);
    if (preset.family != "demo") {
      const std::string images = preset.ipc == 1 ? " image" : " images";
      CHECK_THAT(preset.header,
                 Contains(", " + std::to_string(preset.ipc) + images + " per class"));
    }
    const auto protocol = protocol_in(preset.header);
    // Values of a leaderboard and of a recipe that the paper states in part only; students of
    // labels that teachers without labels, or a fraction of the labels, gave.
    const bool benchmark = preset.header.find("DC-BENCH") != std::string::npos;
    const bool without = benchmark || preset.family == "datadam/paper" ||
                         preset.family == "sc-dd" || preset.family == "lpld";
    CHECK(protocol.has_value() == !without);
    if (!protocol) continue;
    CHECK(*protocol == expected(preset));
    CHECK(std::find(known.begin(), known.end(), *protocol) != known.end());
    const auto changes = protocol_changes_in(preset.header);
    if (!changes.empty()) {
      CHECK_NOTHROW(eval::changed(experiments::load_protocol(*protocol), changes));
    }
  }
}

TEST_CASE("presets say where their row has other numbers than their protocol",
          "[experiments][presets]") {
  const auto changes = [](const std::string& name) {
    for (const Preset& preset : presets()) {
      if (preset.name == name) return protocol_changes_in(preset.header);
    }
    return std::vector<std::string>{"no such preset"};
  };
  using List = std::vector<std::string>;
  CHECK(changes("rded/cifar10-ipc10").empty());
  CHECK(changes("rded/cifar100-ipc1") == List{"batch-size=20"});
  CHECK(changes("rded/cifar100-ipc10") == List{"batch-size=100"});
  CHECK(changes("rded/cifar100-ipc50") == List{"batch-size=200"});
  CHECK(changes("rded/convnet-cifar100-ipc10") == List{"batch-size=25", "lr=0.002"});
  for (const char* ipc : {"1", "10", "50"}) {
    CHECK(changes(std::string("rded/tiny-imagenet-ipc") + ipc) == List{"batch-size=100"});
  }
  for (const std::string family : {"cv-dd/", "sre2l/plus-"}) {
    CHECK(changes(family + "cifar100-ipc10") == List{"smoothing=2"});
    CHECK(changes(family + "cifar100-ipc50").empty());
    CHECK(changes(family + "tiny-imagenet-ipc1") == List{"smoothing=2"});
    CHECK(changes(family + "tiny-imagenet-ipc10").empty());
    CHECK(changes(family + "tiny-imagenet-ipc50") == List{"smoothing=2"});
  }
}

TEST_CASE("presets for few cores state what was measured, and on which images",
          "[experiments][presets]") {
  const auto count = for_each_of({"cpu"}, [](const Preset& preset) {
    CHECK(std::regex_search(preset.header, std::regex("[0-9]+\\.[0-9]+ \\+- [0-9]+\\.[0-9]+ %")));
    if (preset.is_cifar()) CHECK_THAT(preset.header, Contains("JPEG copy"));
    CHECK(preset.number("iterations") <= 1200);
  });
  CHECK(count == 9);
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

TEST_CASE("presets do not pass a best value for a last one", "[experiments][presets]") {
  for_each_of({"datadam", "datadam/paper"}, [](const Preset& preset) {
    CHECK_THAT(preset.header, Contains("best of checkpoints on the test set"));
  });
  for_each_of({"mtt", "ftd", "datm", "tesla"}, [](const Preset& preset) {
    CHECK_THAT(preset.header, Contains("best of evaluations on the test set"));
  });
  std::vector<std::string> leaderboard;
  for (const Preset& preset : presets()) {
    if (preset.header.find("DC-BENCH") == std::string::npos) continue;
    leaderboard.push_back(preset.name);
    CHECK_THAT(preset.header, Contains("the best over its augmentations"));
  }
  std::sort(leaderboard.begin(), leaderboard.end());
  CHECK(leaderboard == std::vector<std::string>{"dc/cifar100-ipc50", "dc/tiny-imagenet-ipc1",
                                                "dc/tiny-imagenet-ipc10", "dc/tiny-imagenet-ipc50",
                                                "dsa/tiny-imagenet-ipc1", "dsa/tiny-imagenet-ipc10",
                                                "dsa/tiny-imagenet-ipc50"});
}

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
