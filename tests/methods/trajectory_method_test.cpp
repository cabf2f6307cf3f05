// Runs of the trajectory methods on small experts.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/nn/network.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;
using retort::testing::kSmallExpertEpochs;
using retort::testing::kSmallExperts;
using retort::testing::shapes;
using retort::testing::small_experts;
using retort::testing::small_method;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

const std::vector<std::string> kFamily{"mtt", "ftd", "datm", "ast", "tesla"};

RunContext context(std::uint64_t seed = 1, std::int64_t ipc = 2) {
  return {.dataset = shapes(), .ipc = ipc, .rng = Rng(seed)};
}

double column(const UpdateReport& report, const std::string& name) {
  for (const auto& [key, value] : report.columns) {
    if (key == name) return value;
  }
  FAIL("no column " << name);
  return 0;
}

struct Trace {
  std::vector<UpdateReport> reports;
  data::SyntheticSet set;
  storage::StateWriter state;
};

/// `iterations` updates of a fresh run.
Trace trace(const std::string& name, const Settings& more, const std::string& iterations = "3") {
  auto method = small_method(name, iterations, more);
  RunContext run = context();
  method->initialize(run);
  Trace result;
  for (std::int64_t i = 0; i < method->iterations(); ++i) {
    result.reports.push_back(method->update(i));
  }
  result.set = method->snapshot();
  method->save_state(result.state);
  return result;
}

void expect_refused(const std::string& name, const Settings& more, const std::string& text) {
  INFO(name);
  auto method = small_method(name, "3", more);
  RunContext run = context();
  CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError, text);
}

/// Expert `number` of a file, to be changed.
storage::ExpertPart part_of(const storage::ExpertReader& file, std::int64_t number) {
  storage::ExpertPart part;
  part.info = file.info();
  part.number = number;
  part.seeds = file.seeds(number);
  for (std::int64_t s = 0; s <= kSmallExpertEpochs; ++s) {
    part.snapshots.push_back(file.snapshot(number, s).clone());
    part.log.push_back(file.log(number, s));
  }
  part.complete = true;
  return part;
}

/// A file of these experts in `folder`.
std::filesystem::path merged(const std::filesystem::path& folder,
                             const std::vector<storage::ExpertPart>& parts) {
  std::vector<std::filesystem::path> paths;
  for (const auto& part : parts) {
    paths.push_back(folder / str("part-", part.number, ".h5"));
    storage::write_part(paths.back(), part);
  }
  storage::merge_experts(folder / "experts.h5", std::nullopt, paths);
  return folder / "experts.h5";
}

std::filesystem::path merged(const std::filesystem::path& folder, const storage::ExpertPart& part) {
  return merged(folder, std::vector{part});
}

Tensor stored(const storage::StateWriter& state, const std::string& what) {
  return storage::StateReader(state).tensor(what);
}

}  // namespace

TEST_CASE("without experts the command that makes them is spelled out", "[methods][trajectory]") {
  const std::string net = "--dataset shapes --net ConvNet-2-w8 ";
  const Settings none{{"experts", ""}, {"max-start-epoch", "25"}};
  expect_refused("mtt", none,
                 "retort experts --recipe sgd " + net + "--epochs 50 --count 5 --out experts.h5");
  expect_refused("ftd", {{"experts", ""}, {"max-start-epoch", "70"}},
                 "retort experts --recipe ftd " + net + "--epochs 71 --count 5 --out");
  expect_refused("datm", none, "--recipe ftd " + net + "--epochs 100");
  expect_refused("ast", none, "--recipe ast " + net + "--epochs 50");
  expect_refused("ftd",
                 {{"experts", ""},
                  {"make-experts", "100"},
                  {"make-epochs", "60"},
                  {"make-settings", "gsam-alpha=1,rho=0.02"}},
                 net + "--epochs 60 --gsam-alpha 1 --rho 0.02 --count 100 --out");
  expect_refused("mtt", {{"experts", "none.h5"}, {"experts-count", "7"}},
                 "--count 7 --out none.h5");
  // What chose the images of the run.
  const data::ImageDataset part = shapes().hold_out(0.25, Rng(3));
  RunContext run{.dataset = part, .ipc = 2, .rng = Rng(3), .seed = 3, .hold_out = 0.25};
  CHECK_THROWS_WITH_TEXT(small_method("mtt", "3", none)->initialize(run), ConfigError,
                         "--count 5 --hold-out 0.25 --seed 3 --out");
}

TEST_CASE("without experts a method says which it needs, for as long as its recipe or it follows",
          "[methods][trajectory]") {
  const auto needed = [](const std::string& name, const Settings& more) {
    return small_method(name, "3", more)->prerequisites().experts;
  };
  const Settings none{{"experts", ""}, {"max-start-epoch", "25"}};
  for (const auto& [name, recipe] : std::vector<std::pair<std::string, std::string>>{
           {"mtt", "sgd"}, {"tesla", "sgd"}, {"ftd", "ftd"}, {"datm", "ftd"}, {"ast", "ast"}}) {
    INFO(name);
    const auto experts = needed(name, none);
    REQUIRE(experts.has_value());
    CHECK(experts->recipe == recipe);
    CHECK(experts->net == "ConvNet-2-w8");
    CHECK(experts->count == 5);
    CHECK(experts->epochs == (name == "datm" ? 100 : 50));
    CHECK(experts->followed == 26);
  }
  CHECK(needed("mtt", {{"experts", ""}, {"max-start-epoch", "70"}})->epochs == 71);
  const auto chosen = needed("mtt", {{"experts", ""},
                                     {"make-experts", "2"},
                                     {"make-epochs", "4"},
                                     {"make-settings", "lr=0.02,store=bf16"},
                                     {"experts-dir", "pool"}});
  CHECK(chosen->count == 2);
  CHECK(chosen->epochs == 4);
  CHECK(chosen->settings == std::vector<std::string>{"lr=0.02", "store=bf16"});
  CHECK(chosen->folder == "pool");
  CHECK_THROWS_WITH_TEXT(needed("mtt", {{"experts", ""}, {"make-epochs", "3"}}), ConfigError,
                         "make-epochs 3: this run follows experts to epoch 4");
  CHECK_FALSE(needed("mtt", {}).has_value());
  CHECK_FALSE(needed("dm", {}).has_value());
}

TEST_CASE("what is made where no experts are given is settled, and nothing of a given file",
          "[methods][trajectory]") {
  const auto settled = [](const std::string& experts) {
    const auto factory = find_method("datm").factory();
    config::OptionTable table = factory->options();
    table.set("experts", experts, config::Origin::Flag);
    factory->settle(10);
    return std::pair(table.find("make-experts").value(), table.find("make-epochs").value());
  };
  CHECK(settled("") == std::pair<std::string, std::string>("5", "100"));
  CHECK(settled("e.h5") == std::pair<std::string, std::string>("5", "0"));
}

TEST_CASE("of a file as many experts are followed as asked for", "[methods][trajectory]") {
  auto method = small_method("mtt", "6", {{"experts-count", "2"}});
  RunContext run = context();
  method->initialize(run);
  CHECK(method->assets().at(0).count == 2);
  for (std::int64_t i = 0; i < 6; ++i) CHECK(column(method->update(i), "expert") < 2);
  // Named by whoever runs the method.
  auto provided = small_method("mtt", "1", {{"experts", ""}, {"make-experts", "2"}});
  run.experts = small_experts();
  provided->initialize(run);
  CHECK(provided->assets().at(0).file == "experts.h5");
  CHECK(provided->assets().at(0).count == 2);
}

TEST_CASE("more experts than the file holds are a wrong option", "[methods][trajectory]") {
  expect_refused("mtt", {{"experts-count", "4"}},
                 "option 'experts-count': expected at most 3, the complete experts in '");
  auto provided = small_method("mtt", "1", {{"experts", ""}, {"make-experts", "4"}});
  RunContext run = context();
  run.experts = small_experts();
  CHECK_THROWS_WITH_TEXT(provided->initialize(run), ConfigError,
                         "option 'make-experts': expected at most 3");
}

TEST_CASE("experts by another recipe than the method's are followed with a warning",
          "[methods][trajectory]") {
  const auto warnings = [](const std::string& name, const Settings& more,
                           const std::string& experts = small_experts()) {
    std::string text;
    const log::Sink before = log::set_sink([&](log::Level level, const std::string& message) {
      if (level == log::Level::Warn) text += message + "\n";
    });
    Settings settings = more;
    settings.emplace_back("experts", experts);
    RunContext run = context();
    small_method(name, "1", settings)->initialize(run);
    log::set_sink(before);
    return text;
  };
  CHECK(warnings("mtt", {}).empty());
  CHECK(warnings("tesla", {}).empty());
  CHECK_THAT(warnings("ftd", {}),
             Catch::Matchers::Contains("asked for): recipe: sgd / ftd\n") &&
                 Catch::Matchers::Contains("experts.h5' were not trained as this method"));
  CHECK_THAT(warnings("mtt", {{"make-settings", "lr=0.02,store=bf16"}}),
             Catch::Matchers::Contains("asked for): lr: 0.01 / 0.02\n"));

  // Too few epochs matter where the last of them is looked at.
  const retort::testing::TemporaryFolder folder("retort-recorded-experts");
  const storage::ExpertReader all(small_experts());
  storage::ExpertPart part = part_of(all, 0);
  part.info.recipe = "gsam";
  part.info.options = "recipe = ftd\nepochs = 5\ngsam-alpha = 0.3\nseed = 0\n";
  const auto file = merged(folder.path(), part).string();
  CHECK(warnings("ftd", {}, file).empty());
  CHECK_THAT(warnings("ftd", {{"make-settings", "gsam-alpha=1"}}, file),
             Catch::Matchers::Contains("asked for): gsam-alpha: 0.3 / 1\n"));
  CHECK_THAT(warnings("datm", {}, file),
             Catch::Matchers::Contains("asked for): epochs: 5 / 100\n"));
}

TEST_CASE("experts that do not fit a run are refused", "[methods][trajectory]") {
  auto other_net = small_method("mtt", "3", {{"net", "ConvNet-1-w8"}});
  RunContext run = context();
  CHECK_THROWS_WITH_TEXT(other_net->initialize(run), DataError, "ConvNet-2-w8");
  auto other_data = small_method("mtt");
  const data::ImageDataset rgb = datasets::open_dataset("shapes-rgb", {});
  RunContext colours{.dataset = rgb, .ipc = 2, .rng = Rng(1)};
  CHECK_THROWS_AS(other_data->initialize(colours), DataError);
  auto nowhere = small_method("mtt", "3", {{"experts", "no-such-file.h5"}});
  CHECK_THROWS_WITH_TEXT(nowhere->initialize(run), ConfigError,
                         "there is no file 'no-such-file.h5'. This makes one, with the options of "
                         "--dataset that are used here: retort experts --recipe sgd --dataset "
                         "shapes --net ConvNet-2-w8 --epochs 50 --count 5 --out no-such-file.h5");
  expect_refused("mtt", {{"net", "ConvNet-2-BN-w8"}}, "running statistics");
}

TEST_CASE("epochs that the experts lack are named", "[methods][trajectory]") {
  expect_refused("mtt", {{"max-start-epoch", "5"}}, "need epoch 6; the file has 6 epochs, 0 .. 5");
  expect_refused("mtt", {{"min-start-epoch", "3"}}, "min-start-epoch 3");
  expect_refused("datm", {{"current-max-start-epoch", "3"}, {"max-start-epoch", "2"}},
                 "current-max-start-epoch 3");
  expect_refused("mtt", {{"current-max-start-epoch", "1"}, {"expansion-end", "0"}},
                 "has no iteration to grow until");
  expect_refused("datm", {{"current-max-start-epoch", "1"}, {"min-start-epoch", "1"}},
                 "which is 1 in the first iteration");
  expect_refused("ast", {{"expert-epochs", "3"}, {"syn-steps", "2"}}, "syn-steps 2");
}

TEST_CASE("options without a common meaning are refused", "[methods][trajectory]") {
  expect_refused("mtt", {{"init", "mosaic"}, {"factor", "2"}}, "init mosaic with factor 2");
  expect_refused("mtt", {{"decode-type", "multi"}}, "decode-type multi with factor 1");
}

TEST_CASE("every way of finding the gradient makes the same run", "[methods][trajectory]") {
  const Trace sweep = trace("ast", {{"gradient", "sweep"}, {"labels", "learned"}});
  CHECK(column(sweep.reports.back(), "skipped") == 0);
  const Trace hybrid = trace("ast", {{"gradient", "hybrid"}, {"labels", "learned"}});
  CHECK(at::equal(hybrid.set.images, sweep.set.images));
  const Trace unrolled = trace("ast", {{"gradient", "unrolled"}, {"labels", "learned"}});
  CHECK_CLOSE(unrolled.set.images, sweep.set.images, 1e-4);
  CHECK_CLOSE(stored(unrolled.state, "labels"), stored(sweep.state, "labels"), 1e-4);
  CHECK(*unrolled.set.learned_lr == Approx(*sweep.set.learned_lr).epsilon(1e-4));
}

TEST_CASE("runs of all trajectory methods resume with the same bits, reports included",
          "[methods][trajectory][resume]") {
  const std::vector<Settings> settings{
      {},
      {{"image-ema", "0.9"}, {"labels", "learned"}, {"fyi", "true"}},
      {{"labels", "target"}, {"factor", "2"}, {"decode-type", "multi"}},
      {{"intermediate", "growing"}, {"perturb-weights", "true"}, {"threshold", "0.9"}},
  };
  for (const std::string& name : kFamily) {
    for (std::size_t s = 0; s < settings.size(); ++s) {
      INFO(name << ", settings " << s);
      const Trace whole = trace(name, settings[s], "5");
      auto first = small_method(name, "5", settings[s]);
      RunContext run = context();
      first->initialize(run);
      for (std::int64_t i = 0; i < 2; ++i) first->update(i);
      storage::StateWriter state;
      first->save_state(state);
      auto second = small_method(name, "5", settings[s]);
      RunContext again = context();
      second->load_state(again, storage::StateReader(state));
      for (std::int64_t i = 2; i < 5; ++i) {
        const UpdateReport report = second->update(i);
        CHECK(report.loss == whole.reports[std::size_t(i)].loss);
        CHECK(report.columns == whole.reports[std::size_t(i)].columns);
      }
      const data::SyntheticSet set = second->snapshot();
      CHECK(at::equal(set.images, whole.set.images));
      CHECK(set.learned_lr == whole.set.learned_lr);
      if (const auto* soft = std::get_if<data::SoftLabels>(&set.labels)) {
        CHECK(at::equal(soft->values, std::get<data::SoftLabels>(whole.set.labels).values));
      }
    }
  }
}

TEST_CASE("a run goes on with the experts it began with only", "[methods][trajectory][resume]") {
  const Trace begun = trace("mtt", {}, "1");
  const retort::testing::TemporaryFolder folder("retort-other-experts");
  const storage::ExpertReader all(small_experts());
  const auto refused = [&](const std::filesystem::path& file, const std::string& text) {
    auto second = small_method("mtt", "2", {{"experts", file.string()}});
    RunContext run = context();
    CHECK_THROWS_WITH_TEXT(second->load_state(run, storage::StateReader(begun.state)), ConfigError,
                           text);
  };
  refused(merged(folder.path(), part_of(all, 0)), "this run began with others (3 of id");
  // As many of the same kind, with one number of one of them a little different.
  std::vector<storage::ExpertPart> parts;
  for (std::int64_t e = 0; e < kSmallExperts; ++e) parts.push_back(part_of(all, e));
  const auto same = merged(folder.path(), parts);
  CHECK(storage::ExpertReader(same).sha256() == all.sha256());
  auto again = small_method("mtt", "2", {{"experts", same.string()}});
  RunContext run = context();
  again->load_state(run, storage::StateReader(begun.state));
  parts[1].snapshots[2][7] += 1e-3;
  const auto others = merged(folder.path(), parts);
  CHECK(storage::ExpertReader(others).id() == all.id());
  refused(others, "SHA-256 " + all.sha256() + "), the file has 3 of id " + all.id() + ", SHA-256 " +
                      storage::ExpertReader(others).sha256());
}

TEST_CASE("trajectory methods have the same bits on one thread and two", "[methods][trajectory]") {
  const Settings pieces{{"factor", "2"}, {"batch-syn", "0"}, {"micro-batch", "7"}};
  for (const std::string& name : kFamily) {
    INFO(name);
    set_thread_count(2);
    const Trace two = trace(name, pieces, "2");
    set_thread_count(1);
    const Trace one = trace(name, pieces, "2");
    CHECK(at::equal(one.set.images, two.set.images));
    CHECK(one.reports.back().loss == two.reports.back().loss);
    CHECK(one.reports.back().columns == two.reports.back().columns);
  }
}

TEST_CASE("reports say which expert was followed from which epoch, at which step size",
          "[methods][trajectory]") {
  const Trace run = trace("datm", {{"lr-teacher", "0.02"}}, "6");
  std::vector<double> experts;
  for (std::size_t i = 0; i < run.reports.size(); ++i) {
    const UpdateReport& report = run.reports[i];
    CHECK(report.loss > 0);
    CHECK(column(report, "skipped") == 0);
    const double bound = i < 2 ? 2 : 3;  // grows from 2 to 3 within two iterations
    CHECK(column(report, "start_epoch") < bound);
    experts.push_back(column(report, "expert"));
  }
  for (const std::size_t pass : {0, 3}) {
    std::vector<double> order(experts.begin() + std::ptrdiff_t(pass),
                              experts.begin() + std::ptrdiff_t(pass) + kSmallExperts);
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<double>{0, 1, 2});
  }
  CHECK(column(run.reports[0], "lr") == 0.02);
  CHECK(column(run.reports[1], "lr") != 0.02);
  CHECK(*run.set.learned_lr != column(run.reports[5], "lr"));
}

TEST_CASE("a skipped iteration changes nothing but its count", "[methods][trajectory]") {
  auto method = small_method("datm", "3", {{"threshold", "1e-9"}});
  RunContext run = context();
  method->initialize(run);
  storage::StateWriter before;
  method->save_state(before);
  const UpdateReport report = method->update(0);
  CHECK(column(report, "skipped") == 1);
  CHECK(report.loss > 1e-9);
  storage::StateWriter after;
  method->save_state(after);
  for (const std::string what : {"stored", "labels", "lr"}) {
    INFO(what);
    CHECK(at::equal(stored(after, what), stored(before, what)));
  }
  CHECK_FALSE(storage::StateReader(after).has("steps/images"));
}

TEST_CASE("a loss that is not a number is skipped, and that of before reported",
          "[methods][trajectory]") {
  // Step sizes beyond all bounds.
  const Trace run = trace("mtt", {{"lr-teacher", "1e38"}, {"init", "noise"}});
  CHECK(run.reports[0].loss == 1);
  CHECK(column(run.reports[2], "skipped") == 3);
  CHECK(*run.set.learned_lr == 1e38);
}

TEST_CASE("a run that skips 100 iterations in a row stops with the reason",
          "[methods][trajectory]") {
  auto method = small_method("mtt", "1000", {{"threshold", "1e-9"}, {"syn-steps", "1"}});
  RunContext run = context();
  method->initialize(run);
  for (std::int64_t i = 0; i < 99; ++i) method->update(i);
  CHECK_THROWS_WITH_TEXT(method->update(99), NumericalError,
                         "100 iterations in a row were skipped; iteration 99 is skipped: its loss");
}

TEST_CASE("experts that do not move are skipped", "[methods][trajectory]") {
  const retort::testing::TemporaryFolder folder("retort-still-experts");
  storage::ExpertPart part = part_of(storage::ExpertReader(small_experts()), 0);
  part.snapshots.assign(part.snapshots.size(), part.snapshots[0]);
  const auto still = merged(folder.path(), part);
  for (const std::string perturbed : {"false", "true"}) {
    INFO(perturbed);
    const Trace run = trace("mtt", {{"experts", still.string()}, {"perturb-weights", perturbed}});
    CHECK(column(run.reports.back(), "skipped") == 3);
  }
}

TEST_CASE("a step size that is not positive stops the run, unless it is clamped",
          "[methods][trajectory]") {
  const Settings wild{{"lr-lr", "1000"}, {"lr-momentum", "0"}};
  const auto fall = [&](const Settings& more) {
    auto method = small_method("mtt", "20", more);
    RunContext run = context();
    method->initialize(run);
    for (std::int64_t i = 0; i < 20; ++i) method->update(i);
    return *method->snapshot().learned_lr;
  };
  CHECK_THROWS_WITH_TEXT(fall(wild), NumericalError, "--clamp-lr");
  Settings clamped = wild;
  clamped.emplace_back("clamp-lr", "true");
  const double lr = fall(clamped);
  CHECK(lr >= 1e-6);
  CHECK(lr <= 1);
}

TEST_CASE("the set of FTD is a running mean of the images that were stepped to",
          "[methods][trajectory]") {
  auto method = small_method("ftd", "4", {{"image-ema", "0.75"}});
  RunContext run = context();
  method->initialize(run);
  Tensor mean = method->snapshot().images;
  for (std::int64_t i = 0; i < 4; ++i) {
    method->update(i);
    storage::StateWriter state;
    method->save_state(state);
    mean = 0.75 * mean + 0.25 * stored(state, "stored");
    CHECK_CLOSE(method->snapshot().images, mean, 1e-6);
  }
}

TEST_CASE("steps of images, labels and step size are SGD with momentum", "[methods][trajectory]") {
  // With v_0 = g the first displacement is lr g; the second lr (momentum g + g').
  const auto positions = [&](const std::string& what, const Settings& more) {
    auto method = small_method("datm", "1", more);
    RunContext run = context();
    method->initialize(run);
    std::vector<Tensor> found;
    for (std::int64_t i = 0; i < 2; ++i) {
      storage::StateWriter state;
      method->save_state(state);
      found.push_back(stored(state, what).to(at::kDouble));
      if (i == 0) method->update(0);
    }
    return found;
  };
  for (const auto& [what, option] : std::vector<std::pair<std::string, std::string>>{
           {"stored", "lr-images"}, {"labels", "lr-labels"}, {"lr", "lr-lr"}}) {
    INFO(what);
    const std::string small = what == "lr" ? "1e-6" : "0.5";
    const std::string large = what == "lr" ? "2e-6" : "1";
    const auto one = positions(what, {{option, small}});
    const auto two = positions(what, {{option, large}});
    CHECK(at::equal(one[0], two[0]));
    const Tensor moved = one[1] - one[0];
    CHECK(moved.abs().max().item<double>() > 0);
    CHECK_CLOSE(two[1] - two[0], 2 * moved, 1e-2);
  }
}

TEST_CASE("sets carry the learned step size and the labels that go with the images",
          "[methods][trajectory]") {
  const retort::testing::TemporaryFolder folder("retort-trajectory-sets");
  const auto round_trip = [&](data::SyntheticSet set) {
    set.preprocessing = shapes().preprocessing();
    set.provenance.class_names = shapes().info().class_names;
    storage::write_set(folder.path() / "set.h5", set);
    return storage::read_set(folder.path() / "set.h5");
  };
  SECTION("hard") {
    const data::SyntheticSet set = round_trip(trace("mtt", {}).set);
    CHECK(set.learned_lr.has_value());
    CHECK(std::holds_alternative<data::HardLabels>(set.labels));
  }
  SECTION("learned logits") {
    const data::SyntheticSet set = round_trip(trace("datm", {}).set);
    const auto& soft = std::get<data::SoftLabels>(set.labels);
    CHECK(soft.kind == data::SoftLabels::Kind::Logit);
    CHECK(soft.learned);
    // What the experts are right about is the class itself.
    CHECK(at::equal(soft.values.argmax(1), soft.classes));
  }
  SECTION("of the target network") {
    const data::SyntheticSet set = round_trip(trace("tesla", {{"labels", "target"}}).set);
    const auto& soft = std::get<data::SoftLabels>(set.labels);
    CHECK(soft.kind == data::SoftLabels::Kind::Probability);
    CHECK_FALSE(soft.learned);
    CHECK_CLOSE(soft.values.sum(1), at::ones({soft.values.size(0)}), 1e-6);
  }
  SECTION("one per decoded image") {
    const data::SyntheticSet set =
        round_trip(trace("datm", {{"factor", "2"}, {"label-init", "first"}}).set);
    CHECK(synth::decode(set).images.size(0) == 4 * set.images.size(0));
    CHECK(std::get<data::SoftLabels>(set.labels).values.size(0) == 4 * set.images.size(0));
  }
}

TEST_CASE("a method names the experts it follows, once it has opened them",
          "[methods][trajectory]") {
  auto method = small_method("mtt");
  CHECK(method->assets().empty());
  RunContext run = context();
  method->initialize(run);
  const auto assets = method->assets();
  REQUIRE(assets.size() == 1);
  CHECK(assets[0].role == "experts");
  CHECK(assets[0].file == "experts.h5");
  CHECK(assets[0].id == storage::ExpertReader(small_experts()).id());
  CHECK(assets[0].sha256 == storage::ExpertReader(small_experts()).sha256());
  CHECK(assets[0].count == kSmallExperts);
  CHECK_THAT(assets[0].note, Catch::Matchers::Contains("recipe sgd, ConvNet-2-w8") &&
                                 Catch::Matchers::Contains("5 epochs"));
  CHECK(small_method("dm")->assets().empty());
}

TEST_CASE("images to start from are real ones of their class", "[methods][trajectory]") {
  for (const std::string init : {"right", "representative"}) {
    INFO(init);
    auto method = small_method("mtt", "1", {{"init", init}});
    RunContext run = context(1, 5);
    method->initialize(run);
    const Tensor images = method->snapshot().images;
    for (std::int64_t c = 0; c < shapes().num_classes(); ++c) {
      const Tensor real = shapes().batch(data::Split::Train, shapes().class_indices(c)).flatten(1);
      const Tensor mine = images.slice(0, 5 * c, 5 * (c + 1)).flatten(1);
      const Tensor distance = (mine.unsqueeze(1) - real.unsqueeze(0)).abs().amax(2);
      CHECK(distance.amin(1).max().item<double>() == 0);
      CHECK(std::get<0>(at::_unique(distance.argmin(1))).numel() == 5);
    }
  }
}

TEST_CASE("predicted work counts every pass of every step", "[methods][trajectory]") {
  const auto flops = [](const Settings& more) {
    Settings settings{{"syn-steps", "10"}, {"batch-syn", "4"}, {"gradient", "sweep"}};
    settings.insert(settings.end(), more.begin(), more.end());
    const auto method = small_method("mtt", "1", settings);
    const Flops found = method->work(context()).per_iteration;
    return found.fused + found.plain + found.layered;
  };
  const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
  const double pass = 2.0 * double(network->macs()) * 10 * 4;
  CHECK(flops({}) == Approx(12 * pass));
  CHECK(flops({{"gradient", "unrolled"}}) == Approx(9 * pass));
  CHECK(flops({{"gradient", "tesla"}}) == Approx(10.5 * pass));
  CHECK(flops({{"gradient", "hybrid"}, {"graph-memory", "0"}}) == Approx(11.7 * pass));
  CHECK(flops({{"gradient", "hybrid"}}) == Approx(9 * pass));
  CHECK(flops({{"fyi", "true"}}) == Approx(24 * pass));
  CHECK(flops({{"batch-syn", "0"}}) == Approx(24 * pass));
}

TEST_CASE("students that are led along experts come closer to them", "[methods][slow]") {
  auto method = small_method("mtt", "120",
                             {{"syn-steps", "8"},
                              {"batch-syn", "0"},
                              {"lr-images", "100"},
                              {"lr-teacher", "0.05"},
                              {"lr-lr", "1e-5"},
                              {"augmentation", "none"}});
  RunContext run = context(1, 5);
  method->initialize(run);
  double first = 0;
  double last = 0;
  for (std::int64_t i = 0; i < 120; ++i) {
    const double loss = method->update(i).loss;
    if (i < 15) first += loss / 15;
    if (i >= 105) last += loss / 15;
  }
  INFO("loss " << first << " at first, " << last << " at last");
  CHECK(last < 0.9 * first);
}
