#include "lib/train/teachers.h"

#include <filesystem>

#include "lib/augment/views.h"
#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using train::TeacherRecipe;

namespace {

constexpr const char* kTeacherNet = "ConvNet-1-BN-w8";

struct Bands {
  data::ImageDataset dataset = separable_dataset(20, 1);
  std::unique_ptr<nn::Network> network =
      nn::make_network(kTeacherNet, dataset.shape(), dataset.num_classes());
  TemporaryFolder folder{"retort-teachers"};
};

TeacherRecipe small_recipe(const std::string& name) {
  TeacherRecipe recipe = TeacherRecipe::defaults(name);
  recipe.epochs = 4;
  recipe.batch_size = 16;
  return recipe;
}

bool same_bits(const storage::Teacher& a, const storage::Teacher& b) {
  return a.sha256() == b.sha256();
}

}  // namespace

TEST_CASE("recipes of teachers have the numbers of the papers' code", "[train][teachers]") {
  using Method = train::TrainOptions::Method;
  const auto sgd = TeacherRecipe::defaults("sgd").train_options(false);
  CHECK(sgd.method == Method::Sgd);
  CHECK(sgd.epochs == 200);
  CHECK(sgd.lr == 0.1);
  CHECK(sgd.momentum == 0.9);
  CHECK(sgd.weight_decay == 5e-4);
  CHECK(sgd.batch_size == 128);
  CHECK(sgd.schedule == train::TrainOptions::Schedule::Cosine);
  CHECK(sgd.augmentation.flip_first);
  CHECK(sgd.augmentation.crop_ratio == 0.125);
  CHECK_FALSE(sgd.curvature);
  const auto adam = TeacherRecipe::defaults("adam").train_options(false);
  CHECK(adam.method == Method::Adam);
  CHECK(adam.lr == 1e-3);
  CHECK(adam.weight_decay == 1e-4);
  CHECK(adam.batch_size == 512);
  CHECK_THROWS_WITH_TEXT(TeacherRecipe::defaults("moco"), ConfigError, "known: sgd, adam");

  TeacherRecipe guard;
  guard.curvature = "full";
  CHECK(guard.train_options(false).curvature->weight == 100);
  guard.curvature = "simplified";
  CHECK(guard.train_options(false).curvature->weight == 1e-4);
  guard.curvature_weight = 2;
  CHECK(guard.train_options(false).curvature->weight == 2);
}

TEST_CASE("step sizes of teachers fall in steps, or along a cosine that rises again",
          "[train][teachers]") {
  const auto factors = [](const TeacherRecipe& recipe, std::vector<std::int64_t> epochs) {
    const auto options = recipe.train_options(false);
    std::vector<double> found;
    for (const std::int64_t epoch : epochs) found.push_back(train::lr_factor(options, epoch));
    return found;
  };
  const auto check = [](const std::vector<double>& found, const std::vector<double>& wanted) {
    REQUIRE(found.size() == wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK(found[i] == Approx(wanted[i]).margin(1e-12));
  };
  TeacherRecipe rded;
  rded.apply({"epochs=90", "schedule=steps"});
  check(factors(rded, {0, 29, 30, 59, 60, 89}), {1, 1, 0.1, 0.1, 0.01, 0.01});
  // PyTorch's CosineAnnealingLR with T_max = 100 over 300 epochs.
  TeacherRecipe imagenette;
  imagenette.apply({"epochs=300", "cosine-epochs=100"});
  check(factors(imagenette, {0, 50, 100, 150, 200, 250}), {1, 0.5, 0, 0.5, 1, 0.5});
  check(factors(TeacherRecipe{}, {0, 100}), {1, 0.5});
}

TEST_CASE("a teacher shifts and mirrors its images at once", "[train][teachers]") {
  const auto operations = [](bool mirror_changes_class) {
    Rng rng(3);
    return augment::draw(TeacherRecipe{}.train_options(mirror_changes_class).augmentation,
                         augment::Sharing::PerSample, 50, 8, 8, rng)
        .sequence;
  };
  using augment::Operation;
  CHECK((operations(false) == std::vector{Operation::Flip, Operation::Crop}));
  CHECK((operations(true) == std::vector{Operation::Crop}));
}

TEST_CASE("a teacher by random resized crops sees every image by a view of its own",
          "[train][teachers]") {
  const Bands bands;
  const train::DatasetData data(bands.dataset, data::Split::Train);
  TeacherRecipe recipe = small_recipe("sgd");
  const auto lesson = [&](const std::string& augmentation) {
    recipe.augmentation = augmentation;
    return recipe.lessons(data, 3, recipe.train_options(false))->epoch(1, Rng(4))(2);
  };
  const auto whole = lesson("none");
  for (const bool flip : {false, true}) {
    const auto cropped = lesson(flip ? "rrc_flip" : "rrc");
    CHECK(cropped.classes.equal(whole.classes));
    CHECK(cropped.plain.equal(whole.images));
    const auto views =
        augment::draw_views({.flip = flip}, 16, {8, 8}, Rng(4).child("step", 2).child("view"));
    CHECK(cropped.images.equal(augment::apply_views(views, whole.images, {8, 8})));
    CHECK_FALSE(cropped.images.equal(whole.images));
  }
}

TEST_CASE("teachers of every recipe learn, and their statistics go with them",
          "[train][teachers]") {
  const Bands bands;
  for (const std::string& name : TeacherRecipe::names()) {
    INFO(name);
    TeacherRecipe recipe = small_recipe(name);
    recipe.epochs = 20;
    if (name == "adam") recipe.lr = 0.01;
    const auto teacher = train::train_teacher(*bands.network, bands.dataset, recipe, 5,
                                              bands.folder.path() / name, {});
    CHECK(teacher.network == kTeacherNet);
    CHECK(teacher.epochs == 20);
    CHECK(teacher.wall_seconds > 0);
    const auto state = train::state_of(teacher, *bands.network);
    const at::NoGradGuard no_grad;
    const Tensor all = at::arange(bands.dataset.size(data::Split::Test), at::kLong);
    const Tensor logits =
        bands.network->forward(state, bands.dataset.batch(data::Split::Test, all)).logits;
    const Tensor right = logits.argmax(1).eq(bands.dataset.labels(data::Split::Test));
    CHECK(right.to(at::kFloat).mean().item<float>() > 0.8f);
    CHECK_FALSE(state.buffers[0].equal(at::zeros_like(state.buffers[0])));
  }
}

TEST_CASE("a stopped teacher goes on to the same bits, amid an epoch too",
          "[train][teachers][resume]") {
  const Bands bands;
  for (const std::string& name : TeacherRecipe::names()) {
    INFO(name);
    TeacherRecipe recipe = small_recipe(name);
    if (name == "adam") recipe.augmentation = "rrc_flip";
    const auto whole = train::train_teacher(*bands.network, bands.dataset, recipe, 5,
                                            bands.folder.path() / (name + "-whole"), {});
    const auto checkpoint = bands.folder.path() / name;
    for (const std::int64_t stopped_after : {6, 3}) {  // 4 steps an epoch
      StopFlag stop;
      std::int64_t steps = 0;
      const train::TeacherHooks hooks{.after_step =
                                          [&](const train::StepReport&, std::int64_t) {
                                            if (++steps == stopped_after) stop.request();
                                          },
                                      .after_epoch = {}};
      CHECK_THROWS_AS(
          train::train_teacher(*bands.network, bands.dataset, recipe, 5, checkpoint, hooks, &stop),
          Interrupted);
      CHECK(std::filesystem::exists(checkpoint));
    }
    const auto resumed =
        train::train_teacher(*bands.network, bands.dataset, recipe, 5, checkpoint, {});
    CHECK(same_bits(resumed, whole));
    const auto other = train::train_teacher(*bands.network, bands.dataset, recipe, 6,
                                            bands.folder.path() / (name + "-other"), {});
    CHECK_FALSE(same_bits(other, whole));
  }
}

TEST_CASE("a checkpoint or teacher of another network is refused by name", "[train][teachers]") {
  const Bands bands;
  StopFlag stop;
  const auto checkpoint = bands.folder.path() / "checkpoint";
  const train::TeacherHooks hooks{
      .after_step = [&](const train::StepReport&, std::int64_t) { stop.request(); },
      .after_epoch = {}};
  CHECK_THROWS_AS(train::train_teacher(*bands.network, bands.dataset, small_recipe("sgd"), 5,
                                       checkpoint, hooks, &stop),
                  Interrupted);
  const auto wider =
      nn::make_network("ConvNet-1-BN-w16", bands.dataset.shape(), bands.dataset.num_classes());
  CHECK_THROWS_WITH_TEXT(
      train::train_teacher(*wider, bands.dataset, small_recipe("sgd"), 5, checkpoint, {}),
      StorageError, "network: ConvNet-1-BN-w8 / ConvNet-1-BN-w16");
  const auto refused = [&](const TeacherRecipe& recipe, std::uint64_t seed,
                           const std::string& text) {
    CHECK_THROWS_WITH_TEXT(
        train::train_teacher(*bands.network, bands.dataset, recipe, seed, checkpoint, {}),
        StorageError, text);
  };
  refused(small_recipe("sgd"), 6, "another teacher (theirs / asked for): seed: 5 / 6");
  refused(small_recipe("adam"), 5, "recipe: sgd / adam");
  TeacherRecipe longer = small_recipe("sgd");
  longer.epochs = 5;
  refused(longer, 5, "epochs: 4 / 5");

  const auto teacher = train::as_teacher(*bands.network, bands.network->initialize(Rng(1)));
  CHECK_THROWS_WITH_TEXT(train::state_of(teacher, *wider), DataError,
                         "expected 'features.0.weight' [16, 1, 3, 3], found 'features.0.weight' "
                         "[8, 1, 3, 3]");
  const auto plain =
      nn::make_network("ConvNet-1-w8", bands.dataset.shape(), bands.dataset.num_classes());
  CHECK_THROWS_WITH_TEXT(train::state_of(teacher, *plain), DataError,
                         "expected 0 tensors, found 2");
}
