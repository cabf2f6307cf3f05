// Which experts the trajectory methods ask for, refuse, follow and name.
#include <filesystem>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/storage/expert_file.h"
#include "tests/methods/trajectory_runs.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::testing;

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
  RunContext run = small_run();
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
  RunContext run = small_run();
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
    RunContext run = small_run();
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
  RunContext run = small_run();
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

TEST_CASE("a run goes on with the experts it began with only", "[methods][trajectory][resume]") {
  const Trace begun = trace("mtt", {}, "1");
  const retort::testing::TemporaryFolder folder("retort-other-experts");
  const storage::ExpertReader all(small_experts());
  const auto refused = [&](const std::filesystem::path& file, const std::string& text) {
    auto second = small_method("mtt", "2", {{"experts", file.string()}});
    RunContext run = small_run();
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
  RunContext run = small_run();
  again->load_state(run, storage::StateReader(begun.state));
  parts[1].snapshots[2][7] += 1e-3;
  const auto others = merged(folder.path(), parts);
  CHECK(storage::ExpertReader(others).id() == all.id());
  refused(others, "SHA-256 " + all.sha256() + "), the file has 3 of id " + all.id() + ", SHA-256 " +
                      storage::ExpertReader(others).sha256());
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

TEST_CASE("a method names the experts it follows, once it has opened them",
          "[methods][trajectory]") {
  auto method = small_method("mtt");
  CHECK(method->assets().empty());
  RunContext run = small_run();
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
