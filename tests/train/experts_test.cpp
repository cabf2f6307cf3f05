#include "lib/train/experts.h"

#include <cmath>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using train::ExpertRecipe;

namespace {

/// A recipe that takes seconds on bands of gray 8x8 images.
ExpertRecipe small_recipe(const std::string& name) {
  ExpertRecipe recipe = ExpertRecipe::defaults(name);
  recipe.epochs = 4;
  recipe.batch_size = 16;
  recipe.loss_epochs = 2;
  recipe.lr_drop = 0.5;
  return recipe;
}

struct Bands {
  data::ImageDataset dataset = separable_dataset(15, 1);
  std::unique_ptr<nn::Network> network =
      nn::make_network(kTinyNet, dataset.shape(), dataset.num_classes());

  storage::ExpertPart part(const ExpertRecipe& recipe, std::int64_t number = 0) const {
    return train::new_expert(train::expert_info(recipe, *network, dataset), 7, number);
  }
  storage::ExpertPart trained(const ExpertRecipe& recipe, std::int64_t number = 0) const {
    storage::ExpertPart result = part(recipe, number);
    train::train_expert(*network, dataset, recipe, result, {});
    return result;
  }
};

/// Trains until `steps` steps are made, then stops and keeps what was saved last.
storage::ExpertPart stopped_after(const Bands& bands, const ExpertRecipe& recipe,
                                  storage::ExpertPart part, std::int64_t steps) {
  StopFlag stop;
  storage::ExpertPart saved;
  const train::ExpertHooks hooks{.after_step =
                                     [&](const train::StepReport&) {
                                       if (--steps == 0) stop.request();
                                     },
                                 .test = {},
                                 .after_epoch = {},
                                 .save = [&](const storage::ExpertPart& now) { saved = now; }};
  CHECK_THROWS_AS(train::train_expert(*bands.network, bands.dataset, recipe, part, hooks, &stop),
                  Interrupted);
  return saved;
}

void check_same_trajectory(const storage::ExpertPart& a, const storage::ExpertPart& b) {
  CHECK(a.complete);
  CHECK(b.complete);
  CHECK(same_bits(a.snapshots, b.snapshots));
  REQUIRE(a.log.size() == b.log.size());
  for (std::size_t i = 1; i < a.log.size(); ++i) {
    CHECK(a.log[i].train_loss == b.log[i].train_loss);
    CHECK(a.log[i].train_accuracy == b.log[i].train_accuracy);
    CHECK(a.log[i].step_norm == b.log[i].step_norm);
  }
}

}  // namespace

TEST_CASE("AST's loss grows to full weight within ten epochs, its step size drops once",
          "[train][ast]") {
  const train::TrainOptions options = ExpertRecipe::defaults("ast").train_options(false);
  REQUIRE(options.first_loss_factors.size() == 10);
  for (int epoch = 0; epoch < 10; ++epoch) {
    CHECK(options.first_loss_factors[std::size_t(epoch)] ==
          Approx(0.5 + 0.05 * epoch).epsilon(1e-14));
  }
  CHECK(options.loss_factor == 1);
  CHECK(options.penalty == 2);
  CHECK(options.lr == 0.003);
  CHECK(options.momentum == 0.9);
  CHECK(options.weight_decay == 1e-3);
  REQUIRE(options.drops.size() == 1);
  CHECK(options.drops[0].after_epoch == 26);
  CHECK(options.drops[0].factor == 0.6);
  CHECK(options.drops[0].reset_optimizer);
  CHECK_FALSE(options.gsam);

  // The earlier revision.
  ExpertRecipe earlier = ExpertRecipe::defaults("ast");
  earlier.loss_epochs = 5;
  CHECK(earlier.train_options(false).first_loss_factors.back() == Approx(0.9).epsilon(1e-14));
}

TEST_CASE("MTT's and FTD's recipes are those of their code", "[train][experts]") {
  const train::TrainOptions sgd = ExpertRecipe::defaults("sgd").train_options(false);
  CHECK(sgd.epochs == 50);
  CHECK(sgd.lr == 0.01);
  CHECK(sgd.momentum == 0);
  CHECK(sgd.weight_decay == 0);
  CHECK(sgd.batch_size == 256);
  CHECK(sgd.drops.empty());
  CHECK(sgd.penalty == 0);
  CHECK_FALSE(sgd.gsam);
  CHECK(sgd.augmentation.align_corners);
  CHECK(sgd.augmentation.text() == "color_crop_cutout_flip_scale_rotate");
  CHECK(ExpertRecipe::defaults("sgd").train_options(true).augmentation.text() ==
        "color_crop_cutout_scale_rotate");

  const train::TrainOptions ftd = ExpertRecipe::defaults("ftd").train_options(false);
  REQUIRE(ftd.gsam);
  CHECK(ftd.gsam->rho == 0.01);
  CHECK(ftd.gsam->alpha == 0.3);
  CHECK(ftd.gsam->adaptive);
  CHECK(ftd.lr == 0.01);
  CHECK(ftd.momentum == 0);
  CHECK_THROWS_WITH_TEXT(ExpertRecipe::defaults("mtt"), ConfigError, "known: sgd, ftd, ast");
}

TEST_CASE("a stopped expert goes on to the same bits, amid an epoch too", "[train][experts]") {
  const Bands bands;
  for (const std::string& name : ExpertRecipe::names()) {
    INFO(name);
    const ExpertRecipe recipe = small_recipe(name);
    const auto whole = bands.trained(recipe);
    REQUIRE(whole.snapshots.size() == 5);
    // 3 steps an epoch: after the first step of the second epoch, then at the end of the third.
    auto part = stopped_after(bands, recipe, bands.part(recipe), 4);
    CHECK(part.snapshots.size() == 2);
    part = stopped_after(bands, recipe, std::move(part), 5);
    CHECK(part.snapshots.size() == 4);
    train::train_expert(*bands.network, bands.dataset, recipe, part, {});
    check_same_trajectory(part, whole);
  }
}

TEST_CASE("an expert has the same bits on one thread, on two and beside another",
          "[train][experts]") {
  const Bands bands;
  for (const std::string& name : ExpertRecipe::names()) {
    INFO(name);
    ExpertRecipe recipe = small_recipe(name);
    recipe.epochs = 2;
    recipe.batch_size = 30;
    const auto alone = bands.trained(recipe);
    const WithThreads two(2);
    check_same_trajectory(bands.trained(recipe), alone);
    std::vector<storage::ExpertPart> beside(2);
    parallel_tasks(
        2, [&](std::int64_t task) { beside[std::size_t(task)] = bands.trained(recipe, task); });
    check_same_trajectory(beside[0], alone);
    CHECK_FALSE(same_bits(beside[0].snapshots, beside[1].snapshots));
  }
}

TEST_CASE("snapshots are of the start and of every epoch, or of every few and the last",
          "[train][experts]") {
  const Bands bands;
  ExpertRecipe recipe = small_recipe("sgd");
  CHECK(recipe.snapshot_epochs() == std::vector<std::int64_t>{0, 1, 2, 3, 4});
  const auto all = bands.trained(recipe);
  const auto start = bands.network->initialize(Rng(all.seeds.init));
  CHECK(all.snapshots[0].equal(nn::flatten(start.parameters)));
  CHECK(all.log[0].step_norm == 0);
  CHECK(std::isnan(all.log[0].train_loss));
  CHECK(all.log[1].step_norm ==
        Approx((all.snapshots[1] - all.snapshots[0]).norm().item<double>()).epsilon(1e-5));
  CHECK(all.log[4].train_loss < all.log[1].train_loss);
  CHECK(std::isnan(all.log[4].test_accuracy));

  recipe.keep_every = 3;
  CHECK(recipe.snapshot_epochs() == std::vector<std::int64_t>{0, 3, 4});
  const auto few = bands.trained(recipe);
  CHECK(same_bits(few.snapshots, {all.snapshots[0], all.snapshots[3], all.snapshots[4]}));
  CHECK(few.log[1].train_loss == all.log[3].train_loss);
}

TEST_CASE("an expert is tested and reported as its hooks ask", "[train][experts]") {
  const Bands bands;
  const ExpertRecipe recipe = small_recipe("ast");
  storage::ExpertPart part = bands.part(recipe);
  std::vector<std::int64_t> epochs;
  std::vector<double> penalties;
  std::int64_t saved = 0;
  const train::ExpertHooks hooks{
      .after_step = {},
      .test = [](std::int64_t done, const nn::NetworkState&) -> std::optional<train::ExpertTest> {
        if (done % 2 == 1) return std::nullopt;
        return train::ExpertTest{.loss = 0.5, .accuracy = double(done)};
      },
      .after_epoch =
          [&](const train::EpochReport& report, const std::optional<train::ExpertTest>& tested,
              double) {
            epochs.push_back(report.epoch);
            penalties.push_back(report.penalty);
            CHECK(tested.has_value() == (report.epoch % 2 == 1));
          },
      .save = [&](const storage::ExpertPart&) { ++saved; }};
  train::train_expert(*bands.network, bands.dataset, recipe, part, hooks);
  CHECK(epochs == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK(penalties.back() > 0);
  CHECK(penalties.back() < penalties.front());
  CHECK(part.log[0].test_accuracy == 0);
  CHECK(std::isnan(part.log[1].test_accuracy));
  CHECK(part.log[4].test_accuracy == 4);
  CHECK(saved >= 2);
  CHECK(part.log[4].wall_seconds > 0);
}

TEST_CASE("experts of one run have streams of their own", "[train][experts]") {
  CHECK(train::expert_seeds(3, 0) == train::expert_seeds(3, 0));
  CHECK_FALSE(train::expert_seeds(3, 0) == train::expert_seeds(3, 1));
  CHECK_FALSE(train::expert_seeds(3, 0) == train::expert_seeds(4, 0));
  const auto seeds = train::expert_seeds(3, 2);
  CHECK(seeds.init != seeds.data);
  CHECK(seeds.data == seeds.augment);
}

TEST_CASE("networks with BatchNorm make no experts", "[train][experts]") {
  const Bands bands;
  const auto network = nn::make_network("ConvNet-1-BN-w8", bands.dataset.shape(), 3);
  const ExpertRecipe recipe = small_recipe("sgd");
  CHECK_THROWS_WITH_TEXT(train::expert_info(recipe, *network, bands.dataset), ConfigError,
                         "'ConvNet-1-BN-w8' has BatchNorm");
  CHECK_THROWS_WITH_TEXT(train::ExpertTraining(*network, bands.dataset, recipe, {}), ConfigError,
                         "'ConvNet-1-BN-w8' has BatchNorm");
}

TEST_CASE("a part whose snapshots do not fit its state is refused", "[train][experts]") {
  const Bands bands;
  const ExpertRecipe recipe = small_recipe("sgd");
  auto part = stopped_after(bands, recipe, bands.part(recipe), 4);
  part.snapshots.pop_back();
  CHECK_THROWS_WITH_TEXT(train::train_expert(*bands.network, bands.dataset, recipe, part, {}),
                         StorageError, "expected 2 snapshots after 1 epochs, found 1");
}

TEST_CASE("an expert that diverges says which and when", "[train][experts]") {
  const Bands bands;
  ExpertRecipe recipe = small_recipe("sgd");
  recipe.lr = 1e30;
  storage::ExpertPart part = bands.part(recipe, 5);
  CHECK_THROWS_WITH_TEXT(train::train_expert(*bands.network, bands.dataset, recipe, part, {}),
                         NumericalError, "expert 5: epoch 0, step");
}
