// Students of teachers: what they see is what was labelled, and what they are told.
#include "lib/train/taught_lessons.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "lib/augment/patches.h"
#include "lib/augment/views.h"
#include "lib/core/error.h"
#include "lib/train/relabel.h"
#include "lib/train/supervised.h"
#include "tests/support/catch.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;
using data::ViewsInfo;
using train::StudentView;

namespace {

constexpr const char* kTeacherNet = "ConvNet-1-BN-w8";
constexpr std::int64_t kImages = 21;
constexpr std::int64_t kClasses = 3;
constexpr std::int64_t kEpochs = 3;
constexpr std::int64_t kBatch = 16;

/// Images, and teachers who know them.
struct School {
  data::ImageDataset dataset = separable_dataset(30, 1);
  std::vector<train::Member> members = {trained_member(dataset, kTeacherNet, 1, 97)};
  Tensor rows = at::arange(kImages, at::kLong);
  Tensor images = dataset.batch(data::Split::Train, rows);
  Tensor classes = dataset.labels(data::Split::Train).index_select(0, rows);
  train::RelabelRecipe recipe = small_recipe();
  std::shared_ptr<const train::Labeler> labeler =
      std::make_shared<train::Labeler>(train::labeler_of(recipe, members, images.size(0)));

  static train::RelabelRecipe small_recipe() {
    train::RelabelRecipe recipe = train::RelabelRecipe::defaults("cda");
    recipe.epochs = kEpochs;
    recipe.batch_size = kBatch;
    recipe.smallest_area = 0.4;
    return recipe;
  }

  std::shared_ptr<data::ViewList> record(
      ViewsInfo::Sampling sampling = ViewsInfo::Sampling::Order) const {
    ViewsInfo info = train::views_info(recipe, kImages, kClasses, {8, 8});
    info.sampling = sampling;
    auto list = std::make_shared<data::ViewList>(info);
    const std::int64_t count = recipe.epochs * train::batches_per_epoch(recipe, kImages);
    for (std::int64_t i = 0; i < count; ++i) {
      list->append(train::labelled_batch(recipe, *labeler, images, i));
    }
    return list;
  }

  train::TaughtLessons::What what(train::Teaching teaching) const {
    return {.classes = classes, .num_classes = kClasses, .teaching = std::move(teaching)};
  }
};

const School& school() {
  static const School made;
  return made;
}

Rng epoch_rng(std::int64_t epoch) { return Rng(4).child("epoch", epoch); }

train::ViewRecipe mixing(data::Mix::Kind kind) {
  train::ViewRecipe recipe;
  recipe.batch_size = 8;
  recipe.augmentation = augment::Strategy::of("crop_flip", "fyi");
  recipe.view = {.crop = true, .smallest_area = 0.5, .flip = true};
  recipe.mix = kind;
  return recipe;
}

/// All batches of the epochs, as first image and labels tell them apart.
std::set<std::int64_t> batches_drawn(const data::RecordedViews& record,
                                     const train::StudentViews& views, std::int64_t epoch) {
  std::set<std::int64_t> drawn;
  const auto batches = views.epoch(epoch, epoch_rng(epoch));
  for (std::int64_t step = 0; step < views.steps_per_epoch(); ++step) {
    const Tensor values = batches(step).values;
    for (std::int64_t i = 0; i < record.batches(); ++i) {
      if (record.batch(i).values.equal(values)) drawn.insert(i);
    }
  }
  return drawn;
}

}  // namespace

TEST_CASE("a student sees to the bit what was labelled, in the order of the record",
          "[train][taught]") {
  const auto record = school().record();
  const auto views = train::replayed_views(record, school().images, kEpochs, kBatch);
  REQUIRE(views->steps_per_epoch() == 2);
  std::int64_t index = 0;
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto batches = views->epoch(epoch, epoch_rng(epoch));
    for (std::int64_t step = 0; step < 2; ++step, ++index) {
      const StudentView view = batches(step);
      const data::ViewBatch labelled = record->batch(index);
      CHECK(view.rows.equal(at::tensor(labelled.images, at::kLong)));
      CHECK(view.mix.partner == labelled.views.mix.partner);
      CHECK(view.images.equal(
          augment::apply_views(labelled.views, school().images.index_select(0, view.rows),
                               {school().images.size(2), school().images.size(3)})));
      // The teacher, asked again about what the student sees, says what was recorded.
      CHECK(
          data::half_logits(train::labels_of_views(school().recipe, *school().labeler, view.images))
              .equal(view.values));
      CHECK(view.values.equal(labelled.values));
    }
  }
}

TEST_CASE("a student is told the recorded logits, or by them the classes of what was mixed",
          "[train][taught]") {
  const auto record = school().record();
  const auto views = [&] {
    return train::replayed_views(record, school().images, kEpochs, kBatch);
  };
  auto what = school().what(train::recorded_teaching(record->info()));
  what.loss.kind = train::StudentLoss::Kind::Divergence;
  const train::Lesson lesson = train::TaughtLessons(views(), what).epoch(1, epoch_rng(1))(0);
  CHECK(lesson.targets.values.equal(record->batch(2).values.to(at::kFloat)));
  CHECK_FALSE(lesson.targets.classes.defined());
  CHECK(lesson.classes.equal(
      school().classes.index_select(0, at::tensor(record->batch(2).images, at::kLong))));

  what.loss.kind = train::StudentLoss::Kind::SquaredError;
  const auto one_hot =
      train::target_probabilities(data::HardLabels{lesson.classes}, kClasses, at::kFloat);
  CHECK(
      train::TaughtLessons(views(), what).epoch(1, epoch_rng(1))(0).targets.classes.equal(one_hot));
  what.mixed_classes = true;
  const auto& mix = record->batch(2).views.mix;
  const double own = train::own_share(mix, {8, 8});
  CHECK(own == Approx(1 - double(mix.box.height * mix.box.width) / 64));
  const Tensor mixed =
      one_hot * own + one_hot.index_select(0, at::tensor(mix.partner, at::kLong)) * (1 - own);
  CHECK_CLOSE(train::TaughtLessons(views(), what).epoch(1, epoch_rng(1))(0).targets.classes, mixed,
              1e-6);
  CHECK_CLOSE(train::TaughtLessons(views(), school().what(nullptr))
                  .epoch(1, epoch_rng(1))(0)
                  .targets.values,
              mixed, 1e-6);
}

TEST_CASE("recorded probabilities are met at the temperature of the record", "[train][taught]") {
  ViewsInfo info;
  info.kind = data::SoftLabels::Kind::Probability;
  info.tau0 = 4;
  StudentView view;
  view.values = at::tensor({0.5, 0.25, 0.25}).view({1, 3}).to(at::kHalf);
  CHECK_CLOSE((train::recorded_teaching(info)(view) / 4).softmax(1), view.values.to(at::kFloat),
              1e-6);
}

TEST_CASE("a pool without replacement gives an epoch no batch twice, and in time all",
          "[train][taught]") {
  train::RelabelRecipe recipe = school().recipe;
  recipe.batch_size = 8;
  ViewsInfo info = train::views_info(recipe, kImages, kClasses, {8, 8});
  info.sampling = ViewsInfo::Sampling::PoolUnique;
  data::ViewList pool(info);
  const auto views_of = [&](std::int64_t epochs) {
    return train::replayed_views(std::make_shared<data::ViewList>(pool), school().images, epochs,
                                 8);
  };
  const auto label = [&](std::int64_t i) {
    return train::labelled_batch(recipe, *school().labeler, school().images, i);
  };
  pool.append(label(0));
  CHECK_THROWS_WITH_TEXT(views_of(1), ConfigError,
                         "a pool of 1 batches of views: an epoch needs 2 different ones");
  // With as many as an epoch has steps all of them come, by a draw with replacement only half the
  // time.
  pool.append(label(1));
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    CHECK(batches_drawn(pool, *views_of(20), epoch).size() == 2);
  }
  for (std::int64_t i = 2; i < 6; ++i) pool.append(label(i));
  const auto views = views_of(50);
  REQUIRE(views->steps_per_epoch() == 2);
  std::map<std::int64_t, int> times;
  for (std::int64_t epoch = 0; epoch < 50; ++epoch) {
    const auto drawn = batches_drawn(pool, *views, epoch);
    CHECK(drawn.size() == 2);
    CHECK(drawn == batches_drawn(pool, *views, epoch));
    for (const std::int64_t batch : drawn) ++times[batch];
  }
  CHECK(times.size() == 6);
  for (const auto& [batch, count] : times) CHECK(count >= 6);  // of 100 / 6
}

TEST_CASE("a record that a training is not for is refused with what it is for", "[train][taught]") {
  const auto record = school().record();
  const Tensor& images = school().images;
  CHECK_THROWS_WITH_TEXT(train::replayed_views(record, images, kEpochs + 1, kBatch), ConfigError,
                         "labels of views last for 3 epochs, the training has 4");
  CHECK_THROWS_WITH_TEXT(train::replayed_views(record, images, kEpochs, 8), ConfigError,
                         "come in batches of 16, and belong to these batches as a whole; the "
                         "steps of the training take 8");
  CHECK_THROWS_WITH_TEXT(train::replayed_views(record, images.narrow(0, 0, 20), kEpochs, kBatch),
                         ConfigError, "are for 21 images of 8 x 8 pixels");
  data::ViewList pruned(record->info());
  for (std::int64_t i = 0; i < 5; ++i) pruned.append(record->batch(i));
  CHECK_THROWS_WITH_TEXT(
      train::replayed_views(std::make_shared<data::ViewList>(pruned), images, kEpochs, kBatch),
      ConfigError, "expected 2 batches in each of 3 epochs, found 5 in all");
  // Batches larger than the set are all of it.
  train::RelabelRecipe whole = school().recipe;
  whole.batch_size = 1024;
  whole.epochs = 1;
  auto list = std::make_shared<data::ViewList>(train::views_info(whole, kImages, kClasses, {8, 8}));
  list->append(train::labelled_batch(whole, *school().labeler, images, 0));
  CHECK(train::replayed_views(list, images, 1, 500)->steps_per_epoch() == 1);
}

TEST_CASE("a pool gives whole batches, anew in every epoch and for as many as there are",
          "[train][taught]") {
  const auto again = school().record(ViewsInfo::Sampling::PoolReplace);
  const auto replaced = train::replayed_views(again, school().images, 50, kBatch);
  CHECK(replaced->steps_per_epoch() == 1);
  std::set<std::int64_t> all;
  for (std::int64_t epoch = 0; epoch < 50; ++epoch) {
    const auto drawn = batches_drawn(*again, *replaced, epoch);
    CHECK(drawn == batches_drawn(*again, *replaced, epoch));
    all.insert(drawn.begin(), drawn.end());
  }
  CHECK(all.size() == 6);
}

TEST_CASE("views drawn anew depend on seed, epoch and step alone", "[train][taught]") {
  const auto views = train::drawn_views(mixing(data::Mix::Kind::CutMix), school().images);
  CHECK(views->steps_per_epoch() == 3);
  const StudentView once = views->epoch(2, epoch_rng(2))(1);
  const auto other_order = views->epoch(2, epoch_rng(2));
  other_order(2);
  CHECK(other_order(1).images.equal(once.images));
  CHECK_FALSE(views->epoch(2, epoch_rng(3))(1).images.equal(once.images));
  std::vector<std::int64_t> seen;
  const auto epoch = views->epoch(0, epoch_rng(0));
  for (std::int64_t step = 0; step < 3; ++step) {
    const Tensor rows = epoch(step).rows;
    for (std::int64_t i = 0; i < rows.size(0); ++i) seen.push_back(rows[i].item<std::int64_t>());
  }
  CHECK(seen.size() == std::size_t(kImages));
  CHECK(std::set<std::int64_t>(seen.begin(), seen.end()).size() == std::size_t(kImages));
}

TEST_CASE("teachers asked view by view see what the student sees", "[train][taught]") {
  auto what = school().what(train::asked_teaching(school().labeler));
  what.loss.kind = train::StudentLoss::Kind::Divergence;
  const train::TaughtLessons lessons(
      train::drawn_views(mixing(data::Mix::Kind::MixUp), school().images), what);
  const train::Lesson lesson = lessons.epoch(0, epoch_rng(0))(0);
  CHECK(lesson.targets.values.equal((*school().labeler)(lesson.images)));
}

TEST_CASE("labels per image are mixed as logits", "[train][taught]") {
  const Tensor logits = Rng(5).normal_tensor({kImages, kClasses});
  auto what = school().what(train::interpolated_teaching(logits));
  what.loss.kind = train::StudentLoss::Kind::Divergence;
  const auto recipe = mixing(data::Mix::Kind::MixUp);
  const train::TaughtLessons lessons(train::drawn_views(recipe, school().images), what);
  const StudentView view = train::drawn_views(recipe, school().images)->epoch(0, epoch_rng(0))(1);
  const Tensor own = logits.index_select(0, view.rows);
  const Tensor expected =
      own * view.mix.lambda +
      own.index_select(0, at::tensor(view.mix.partner, at::kLong)) * (1 - view.mix.lambda);
  CHECK_CLOSE(lessons.epoch(0, epoch_rng(0))(1).targets.values, expected, 1e-6);
}

TEST_CASE("shuffled patches are those of the image, columns first", "[train][taught]") {
  const Tensor images = Rng(6).normal_tensor({5, 2, 8, 6});
  CHECK(augment::shuffle_patches(images, 1, Rng(7)).is_same(images));
  const Tensor shuffled = augment::shuffle_patches(images, 2, Rng(7));
  std::set<std::pair<bool, bool>> orders;
  for (std::int64_t i = 0; i < 5; ++i) {
    bool found = false;
    for (const bool rows : {false, true}) {
      for (const bool columns : {false, true}) {
        Tensor x = images[i];
        if (columns) x = at::cat({x.narrow(2, 3, 3), x.narrow(2, 0, 3)}, 2);
        if (rows) x = at::cat({x.narrow(1, 4, 4), x.narrow(1, 0, 4)}, 1);
        if (!x.equal(shuffled[i])) continue;
        found = true;
        orders.insert({rows, columns});
      }
    }
    CHECK(found);
  }
  CHECK(orders.size() > 1);
  // 8 = 3 + 3 + 2 rows, 6 = 2 + 2 + 2 columns: nothing is lost.
  const Tensor thirds = augment::shuffle_patches(images, 3, Rng(8));
  CHECK(std::get<0>(thirds.flatten(1).sort(1)).equal(std::get<0>(images.flatten(1).sort(1))));
  CHECK_THROWS_WITH_TEXT(augment::shuffle_patches(images, 7, Rng(8)), ConfigError, "found 7");
}

TEST_CASE("a student that is stopped goes on to the same bits", "[train][taught][resume]") {
  auto what = school().what(train::asked_teaching(school().labeler));
  train::TrainOptions options{.epochs = 3, .lr = 1e-2};
  options.method = train::TrainOptions::Method::AdamW;
  options.batch_norm_group = 4;
  what.loss = options.loss = {.kind = train::StudentLoss::Kind::Divergence, .temperature = 4};
  const train::TaughtLessons lessons(
      train::drawn_views(mixing(data::Mix::Kind::CutMix), school().images), what);
  const auto network = nn::make_network(kTeacherNet, {1, 8, 8}, kClasses);
  auto whole = network->initialize(Rng(1));
  std::vector<double> losses;
  train::train(*network, whole, lessons, options, Rng(2), [&](const train::EpochReport& report) {
    losses.push_back(report.loss);
    return true;
  });

  StopFlag stop;
  options.stop = &stop;
  auto state = network->initialize(Rng(1));
  train::Training first(*network, lessons, options, Rng(2));
  std::int64_t steps = 0;
  const auto request = [&](const train::StepReport&) {
    if (++steps == 2) stop.request();
  };
  CHECK_THROWS_AS(first.epoch(state, request), Interrupted);
  storage::StateWriter saved;
  first.save_state(saved);
  options.stop = nullptr;
  train::Training second(*network, lessons, options, Rng(2));
  second.load_state(storage::StateReader(saved), at::kCPU);
  while (!second.finished()) {
    const auto report = second.epoch(state);
    CHECK(report.loss == losses[std::size_t(report.epoch)]);
  }
  CHECK(same_bits(state.parameters, whole.parameters));
  CHECK(same_bits(state.buffers, whole.buffers));
}
