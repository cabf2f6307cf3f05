// Networks taught by teachers, through the evaluator.
#include "lib/eval/material.h"

#include <cmath>

#include "lib/core/error.h"
#include "lib/eval/evaluator.h"
#include "lib/train/relabel.h"
#include "tests/support/catch.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;
using eval::Material;

namespace {

constexpr const char* kNet = "ConvNet-1-BN-w8";
constexpr std::int64_t kEpochs = 12;

eval::Protocol taught_protocol(const std::string& labels) {
  eval::Protocol protocol;
  protocol.name = "taught";
  protocol.epochs = kEpochs;
  protocol.schedule = "cosine";
  protocol.optimizer = "adamw";
  protocol.lr = 0.01;
  protocol.batch_size = 16;
  protocol.labels = labels;
  protocol.loss = "kl";
  protocol.temperature = 4;
  protocol.augmentation = "none";
  protocol.mix = "cutmix";
  protocol.crop_area = 0.5;
  return protocol;
}

/// Some images of a dataset, a teacher of all of it, and its labels.
struct Lecture {
  data::ImageDataset dataset = separable_dataset(40, 1);
  std::vector<train::Member> members = {trained_member(dataset, kNet, 1, 97)};
  train::RelabelRecipe recipe = small_recipe();
  Material material = labelled();

 private:
  static train::RelabelRecipe small_recipe() {
    train::RelabelRecipe recipe = train::RelabelRecipe::defaults("fkd");
    recipe.epochs = kEpochs;
    recipe.batch_size = 16;
    recipe.smallest_area = 0.5;
    recipe.flip = false;
    return recipe;
  }

  Material labelled() const {
    constexpr std::int64_t kImages = 30;
    const Tensor rows = at::arange(kImages, at::kLong);
    const Tensor images = dataset.batch(data::Split::Train, rows);
    auto labeler = std::make_shared<train::Labeler>(train::labeler_of(recipe, members, kImages));
    auto views = std::make_shared<data::ViewList>(train::views_info(recipe, kImages, 3, {8, 8}));
    for (std::int64_t i = 0; i < kEpochs * 2; ++i) {
      views->append(train::labelled_batch(recipe, *labeler, images, i));
    }
    const Tensor classes = dataset.labels(data::Split::Train).index_select(0, rows);
    const Tensor logits = train::static_labels(*labeler, images);
    return {.training = {images, data::SoftLabels{classes, logits}},
            .views = views,
            .labeler = labeler};
  }
};

const Lecture& lecture() {
  static const Lecture made;
  return made;
}

}  // namespace

TEST_CASE("networks learn from recorded views, teachers and static labels to the same bits",
          "[eval][taught]") {
  for (const char* labels : {"views", "teachers", "static"}) {
    INFO(labels);
    const eval::Evaluator evaluator(lecture().dataset, taught_protocol(labels));
    const auto result = evaluator.evaluate(lecture().material, kNet, {0, 1});
    CHECK(result.mean > 60);
    const WithThreads two(2);
    const auto again = evaluator.evaluate(lecture().material, kNet, {1});
    CHECK(again.runs[0].last == result.runs[1].last);
    CHECK(again.runs[0].train_loss == result.runs[1].train_loss);
    CHECK(eval::sgd_steps(evaluator.protocol(), lecture().material, lecture().dataset) ==
          kEpochs * 2);
  }
}

TEST_CASE("BatchNorm of students sees as large a part of few images as of a full batch",
          "[eval][taught]") {
  eval::Protocol protocol = taught_protocol("views");
  protocol.batch_norm_group = 8;
  Material material = lecture().material;
  const auto group = [&] {
    return eval::train_options(protocol, material, false).batch_norm_group;
  };
  CHECK(group() == 8);
  material.training.images = material.training.images.narrow(0, 0, 10);
  CHECK(group() == 5);
  protocol.batch_norm_group = 0;
  CHECK(group() == 0);
}

TEST_CASE("teachers who are asked normalise by training, or by what the student's BatchNorm sees",
          "[eval][taught]") {
  eval::Protocol protocol = taught_protocol("teachers");
  Material material = lecture().material;
  const train::Member& member = lecture().members.front();
  const auto check = [&](const nn::ForwardOptions& expected) {
    const std::int64_t images = material.training.images.size(0);
    material.labeler = std::make_shared<train::Labeler>(lecture().members, std::vector{1.0},
                                                        eval::label_norm(protocol, images));
    const auto lessons = eval::make_lessons(protocol, material, lecture().dataset);
    const auto lesson = lessons->epoch(0, Rng(1))(0);
    const at::NoGradGuard no_grad;
    CHECK_CLOSE(lesson.targets.values,
                member.network->forward(member.state, lesson.images, expected).logits, 1e-6);
  };
  check({.mode = nn::Mode::Eval});
  protocol.teacher_batch_norm = "batch";
  check({.mode = nn::Mode::Batch});
  protocol.batch_norm_group = 8;
  check({.mode = nn::Mode::Batch, .batch_norm_group = 8});
  material = lecture().material;
  material.training.images = material.training.images.narrow(0, 0, 10);
  auto& soft = std::get<data::SoftLabels>(material.training.labels);
  soft = {soft.classes.narrow(0, 0, 10), soft.values.narrow(0, 0, 10)};
  check({.mode = nn::Mode::Batch, .batch_norm_group = 5});
}

TEST_CASE("hard labels take the same views and the cross-entropy with classes", "[eval][taught]") {
  Material hard = lecture().material;
  hard.hard_labels = true;
  const auto protocol = taught_protocol("views");
  CHECK(eval::train_options(protocol, hard, false).loss.kind ==
        train::StudentLoss::Kind::CrossEntropy);
  const auto taught = eval::make_lessons(protocol, lecture().material, lecture().dataset);
  const auto alone = eval::make_lessons(protocol, hard, lecture().dataset);
  const auto a = taught->epoch(3, Rng(1))(1);
  const auto b = alone->epoch(3, Rng(1))(1);
  CHECK(a.images.equal(b.images));
  CHECK(a.classes.equal(b.classes));
  CHECK_CLOSE(b.targets.values.sum(1), at::ones({b.images.size(0)}), 1e-6);
  // A set without labels of teachers will do.
  hard.views = nullptr;
  CHECK_NOTHROW(eval::make_lessons(taught_protocol("teachers"), hard, lecture().dataset));
}

TEST_CASE("what an evaluation will take grows with its epochs", "[eval][taught]") {
  const auto network = nn::make_network(kNet, {1, 8, 8}, 3);
  // By a clock that says of everything that it takes a second.
  double now = 0;
  const auto predicted = [&](const char* labels, std::int64_t epochs, std::int64_t runs) {
    eval::Protocol protocol = taught_protocol(labels);
    protocol.epochs = epochs;
    return eval::Evaluator(lecture().dataset, protocol)
        .predicted_seconds(lecture().material, *network, runs, [&] { return now++; });
  };
  // Of a batch of 16: its lesson, and its step.
  const double seconds_of_image = 2.0 / 16;
  const auto images = double(lecture().material.training.images.size(0));
  for (const char* labels : {"views", "teachers", "static"}) {
    INFO(labels);
    const double once = predicted(labels, 1, 1);
    CHECK(once > 0);
    const double whole = predicted(labels, 12, 1);
    CHECK(whole - once == Approx(11 * images * seconds_of_image));
    CHECK(predicted(labels, 12, 4) >= whole);
  }
}

TEST_CASE("what teachers said of a finished set is none of its own labels", "[eval][taught]") {
  eval::Protocol protocol = taught_protocol("set");
  protocol.loss = "cross-entropy";
  protocol.mix = "none";
  protocol.crop_area = 1;
  Material material = lecture().material;
  const auto largest = [&] {
    const auto lessons = eval::make_lessons(protocol, material, lecture().dataset);
    return std::get<0>(lessons->epoch(0, Rng(1))(0).targets.values.max(1));
  };
  CHECK(largest().min().item<double>() < 1);
  std::get<data::SoftLabels>(material.training.labels).recipe = "recipe = static\n";
  CHECK(at::equal(largest(), at::ones({16})));
}

TEST_CASE("a protocol that lacks its labels says where they come from", "[eval][taught][error]") {
  const auto refused = [](const eval::Protocol& protocol, const Material& material,
                          const std::string& text) {
    CHECK_THROWS_WITH_TEXT(eval::make_lessons(protocol, material, lecture().dataset), ConfigError,
                           text);
  };
  const Material bare{.training = training_images(lecture().dataset)};
  refused(taught_protocol("views"), bare, "retort relabel SET --teachers FILE");
  refused(taught_protocol("teachers"), bare, "--teachers FILE");
  refused(taught_protocol("static"), bare, "--recipe static");
  auto longer = taught_protocol("views");
  longer.epochs = 300;
  refused(
      longer, lecture().material,
      "labels of views last for 12 epochs, the training has 300; labels for protocol 'taught' "
      "are made by `retort relabel SET --teachers FILE --recipe fkd --epochs 300 "
      "--batch-size 16 --out FILE`, or it is changed by --protocol-set epochs=12,batch-size=16");
}

TEST_CASE("networks are attacked before they are forgotten, and kept with what they withstood",
          "[eval][attack]") {
  class Memory : public eval::RunKeeper {
   public:
    std::optional<eval::FinishedRun> find(std::uint64_t) override { return kept; }
    void keep(const eval::FinishedRun& run) override { kept = run; }
    std::optional<eval::FinishedRun> kept;
  } memory;
  const std::vector<eval::Attack> attacks{{.kind = eval::Attack::Kind::Fgsm, .radius = 0.02},
                                          {.kind = eval::Attack::Kind::Pgd, .radius = 0.2}};
  const eval::Evaluator evaluator(lecture().dataset, taught_protocol("views"), attacks);
  const auto made =
      evaluator.evaluate(lecture().material, kNet, {5}, no_progress(), nullptr, &memory);
  REQUIRE(made.robust.size() == 2);
  CHECK(made.robust[0].mean <= made.mean);
  CHECK(made.robust[1].mean < made.robust[0].mean);
  CHECK(made.robust[1].attack.radius == 0.2);
  REQUIRE(memory.kept);
  CHECK(memory.kept->result.robust ==
        std::vector<double>{made.robust[0].mean, made.robust[1].mean});
  const auto kept =
      evaluator.evaluate(lecture().material, kNet, {5}, no_progress(), nullptr, &memory);
  CHECK(kept.robust[1].runs == made.robust[1].runs);
}

TEST_CASE("all real images of a dataset are trained on under their classes", "[eval][real]") {
  const data::ImageDataset& dataset = lecture().dataset;
  eval::Protocol protocol;
  protocol.epochs = 8;
  protocol.schedule = "steps";
  protocol.augmentation = "none";
  protocol.batch_size = 16;
  const Material real{.training = {}, .real_images = true};
  const std::int64_t images = dataset.size(data::Split::Train);
  CHECK(real.size(dataset) == images);
  CHECK(eval::sgd_steps(protocol, real, dataset) == 8 * ((images + 15) / 16));
  const auto lesson = eval::make_lessons(protocol, real, dataset)->epoch(0, Rng(1))(0);
  CHECK(lesson.images.size(0) == 16);
  CHECK(eval::Evaluator(dataset, protocol).evaluate(real, kNet, {0}).mean > 60);
  protocol.labels = "teachers";
  CHECK_THROWS_WITH(eval::make_lessons(protocol, real, dataset),
                    Catch::Matchers::Contains("real images have none"));
}

TEST_CASE("a mini-batch is augmented on its pixels, once for all of its images", "[eval][pixels]") {
  const data::ImageDataset& dataset = lecture().dataset;
  eval::Protocol protocol;
  protocol.epochs = 4;
  protocol.schedule = "steps";
  protocol.augmentation = "none";
  protocol.batch_size = 4;
  // Four times the same image: what differs between them was drawn for them alone.
  const Tensor image = dataset.batch(data::Split::Train, at::zeros({4}, at::kLong));
  const Material material{.training = {image, data::HardLabels{at::zeros({4}, at::kLong)}}};
  const auto lesson = [&](std::int64_t epoch) {
    return eval::make_lessons(protocol, material, dataset)->epoch(epoch, Rng(epoch))(0).images;
  };
  CHECK(at::equal(lesson(0), image));
  for (const auto& name : eval::augmentation_names()) {
    INFO(name);
    protocol = eval::with_augmentation(protocol, name);
    bool differs = false;
    for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
      const Tensor found = lesson(epoch);
      differs = differs || !at::equal(found, image);
      CHECK(at::equal(found, lesson(epoch)));
      if (name != "dsa") CHECK(at::equal(found[0], found[3]));
    }
    CHECK(differs == (name != "none"));
  }
}

TEST_CASE("another augmentation keeps the rest of a protocol", "[eval][protocol]") {
  eval::Protocol protocol;
  protocol.name = "some";
  protocol.epochs = 1000;
  protocol.plain_epochs = 300;
  protocol.augmentation_digits = "crop";
  CHECK(eval::with_augmentation(protocol, "none").train_options(true).epochs == 301);
  CHECK(eval::with_augmentation(protocol, "none").train_options(true).augmentation.text() ==
        eval::with_augmentation(protocol, "cifar").train_options(false).augmentation.text());
  const auto pixels = eval::with_augmentation(protocol, "imagenet");
  CHECK(pixels.name == "some");
  protocol.cutmix_probability = 0.5;
  CHECK(eval::with_augmentation(protocol, "none").train_options(false).cutmix_probability == 0);
  CHECK(pixels.train_options(false).epochs == 1001);
  CHECK(pixels.pixel_recipe(false).kind == augment::PixelRecipe::Kind::ImageNet);
  CHECK(pixels.pixel_recipe(false).mirror);
  CHECK_FALSE(pixels.pixel_recipe(true).mirror);
  const auto dsa = eval::with_augmentation(pixels, "dsa");
  CHECK(dsa.train_options(false).augmentation.operations.size() == 6);
  CHECK(dsa.train_options(true).augmentation.operations.size() == 5);
  CHECK(dsa.pixel_augmentation == "none");
  CHECK_THROWS_AS(eval::with_augmentation(protocol, "mixup"), ConfigError);
  protocol.labels = "teachers";
  CHECK_THROWS_WITH(eval::with_augmentation(protocol, "dsa"),
                    Catch::Matchers::Contains("labels of teachers"));
}
