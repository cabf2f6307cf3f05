// DD-Ranking: scores, what is trained for them, what is kept, and the report.
#include <map>

#include <nlohmann/json.hpp>

#include "datasets/shapes/shapes.h"
#include "experiments/dd_ranking/report.h"
#include "experiments/dd_ranking/scores.h"
#include "experiments/dd_ranking/study.h"
#include "experiments/protocols.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/synth/parametrization.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::experiments::dd_ranking;
using Catch::Matchers::Contains;

TEST_CASE("scores lie where the paper says", "[experiments][dd-ranking]") {
  CHECK(score(-1) == Approx(0).margin(1e-12));
  CHECK(score(0) == Approx(26.9).margin(0.05));
  CHECK(score(0.1) == Approx(31.4).margin(0.05));
  CHECK(score(-0.1) == Approx(22.8).margin(0.05));
  CHECK(score(1) == Approx(100));
}

TEST_CASE("a score weighs its two differences", "[experiments][dd-ranking]") {
  const LabelAccuracies labels{.real_hard = 0.85, .set_hard = 0.45, .set = 0.65, .random = 0.35};
  CHECK(labels.hlr() == Approx(0.4));
  CHECK(labels.ior() == Approx(0.3));
  CHECK(labels.score(1) == Approx(score(0.3)));
  CHECK(labels.score(0) == Approx(score(-0.4)));
  CHECK(labels.score(0.5) == Approx(score(-0.05)));
  const AugmentationAccuracies augmentation{
      .set_augmented = 0.7, .random_augmented = 0.4, .set_plain = 0.5, .random_plain = 0.4};
  CHECK(augmentation.score(1) == Approx(score(0.3)));
  CHECK(augmentation.score(0) == Approx(score(0.1)));
  CHECK(augmentation.score(0.25) == Approx(score(0.15)));
}

TEST_CASE("accuracies in percent are refused", "[experiments][dd-ranking]") {
  const LabelAccuracies percent{.real_hard = 85, .set_hard = 45, .set = 65, .random = 35};
  CHECK_THROWS_AS(percent.score(0.5), ConfigError);
  CHECK_THROWS_WITH(percent.score(0.5), Contains("as fractions") && Contains("found -5"));
}

namespace {

const data::ImageDataset& shapes() {
  static const data::ImageDataset dataset = datasets::shapes::make_shapes(
      {.classes = 4, .side = 16, .train_per_class = 12, .test_per_class = 5});
  return dataset;
}

/// Two images of every class, the seed says which.
data::SyntheticSet some_images(std::uint64_t seed) {
  std::vector<std::int64_t> rows;
  std::vector<std::int64_t> classes;
  for (std::int64_t c = 0; c < shapes().num_classes(); ++c) {
    const Tensor all = shapes().class_indices(c);
    for (std::int64_t i = 0; i < 2; ++i) {
      rows.push_back(all[std::int64_t(seed) * 2 + i].item<std::int64_t>());
      classes.push_back(c);
    }
  }
  data::SyntheticSet set;
  set.images = shapes().batch(data::Split::Train, at::tensor(rows, at::kLong));
  set.class_index = at::tensor(classes, at::kLong);
  set.labels = data::HardLabels{set.class_index};
  set.preprocessing = shapes().preprocessing();
  set.provenance.class_names = shapes().info().class_names;
  return set;
}

eval::Protocol small_protocol(const std::string& score) {
  eval::Protocol protocol;
  protocol.name = "small";
  protocol.epochs = 4;
  protocol.schedule = "steps";
  protocol.net = "ConvNet-2-w8";
  protocol.score = score;
  protocol.lr_search = {0.01, 0.05};
  protocol.test_every = 2;
  protocol.hard_test_every = 1;
  protocol.real_epochs = 2;
  return protocol;
}

/// Keeps everything, and counts what it is asked to keep.
struct Shelf {
  std::map<std::string, eval::FinishedRun> runs;
  std::int64_t kept = 0;
  StopFlag* stop = nullptr;  ///< requested as soon as something is kept
};

class ShelfKeeper final : public eval::RunKeeper {
 public:
  ShelfKeeper(Shelf& shelf, std::string key) : shelf_(shelf), key_(std::move(key)) {}
  std::optional<eval::FinishedRun> find(std::uint64_t seed) override {
    const auto found = shelf_.runs.find(key_ + std::to_string(seed));
    return found == shelf_.runs.end() ? std::nullopt : std::optional(found->second);
  }
  void keep(const eval::FinishedRun& run) override {
    ++shelf_.kept;
    if (shelf_.stop != nullptr) shelf_.stop->request();
    shelf_.runs[key_ + std::to_string(run.result.seed)] = run;
  }

 private:
  Shelf& shelf_;
  std::string key_;
};

std::string key_of(const eval::Material& material, eval::Protocol protocol) {
  config::OptionTable options;
  protocol.describe(options);
  const double images = material.real_images ? 0 : material.training.images.sum().item<double>();
  return config::config_text(options) + config::number_text(images) + " ";
}

/// Collects warnings while it lives.
class Warnings {
 public:
  Warnings()
      : before_(log::set_sink([this](log::Level level, const std::string& message) {
          if (level == log::Level::Warn) texts_.push_back(message);
        })) {}
  ~Warnings() { log::set_sink(before_); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
  log::Sink before_;
};

std::vector<Repetition> make_on(const Study& study, Shelf& shelf, const StopFlag& stop = {}) {
  return make(study, {.random_set = [](std::uint64_t seed) { return some_images(seed + 1); },
                      .material =
                          [](const data::SyntheticSet& set, const eval::Protocol&) {
                            return eval::Material{.training = synth::decode(set)};
                          },
                      .keeper =
                          [&](const eval::Material& material, const eval::Protocol& protocol) {
                            return std::make_unique<ShelfKeeper>(shelf, key_of(material, protocol));
                          },
                      .progress = no_progress(),
                      .stop = stop});
}

Study small_study(const data::SyntheticSet& set, const std::string& score,
                  std::optional<double> real_accuracy) {
  return {.dataset = shapes(),
          .set = set,
          .protocol = small_protocol(score),
          .network = "ConvNet-2-w8",
          .seeds = {0, 1},
          .real_accuracy = real_accuracy};
}

}  // namespace

TEST_CASE("LRS trains on real data, the set and random images, each at every step size",
          "[experiments][dd-ranking]") {
  const data::SyntheticSet set = some_images(0);
  Study study = small_study(set, "lrs", std::nullopt);
  const auto all = trainings(study);
  REQUIRE(all.size() == 3);
  CHECK(all[0].subject == Subject::Real);
  CHECK(all[0].rates == std::vector<double>{0.01});
  CHECK_FALSE(all[0].augmented);
  CHECK(all[1].subject == Subject::Set);  // with hard labels, as its method wants it
  CHECK(all[1].hard);
  CHECK(all[1].augmented);
  CHECK(all[2].subject == Subject::Random);
  CHECK(all[2].rates == study.protocol.lr_search);
  study.real_accuracy = 90;
  CHECK(trainings(study).size() == 2);
}

TEST_CASE("a set with soft labels is also trained on with hard ones, as it is without augmentation",
          "[experiments][dd-ranking]") {
  data::SyntheticSet set = some_images(0);
  Study study = small_study(set, "lrs", 90);
  study.protocol.labels = "teachers";
  study.protocol.loss = "kl";
  study.protocol.mix = "cutmix";
  const auto all = trainings(study);
  REQUIRE(all.size() == 3);
  CHECK(all[0].hard);
  CHECK_FALSE(all[0].augmented);
  CHECK_FALSE(all[1].hard);
  CHECK(all[1].augmented);
  const auto hard = protocol_of(study, all[0], 0.05);
  CHECK(hard.labels == "set");
  CHECK(hard.lr == 0.05);
  CHECK(hard.mix == "none");
  CHECK(hard.test_every == 1);
  CHECK_FALSE(hard.ranks());
  CHECK(hard.train_options(false).augmentation.operations.empty());
  const auto soft = protocol_of(study, all[1], 0.01);
  CHECK(soft.labels == "teachers");
  CHECK(soft.mix == "cutmix");
  CHECK(soft.test_every == 2);

  study.protocol.augment_hard = true;
  CHECK(protocol_of(study, trainings(study)[0], 0.05).mix == "cutmix");
  CHECK(protocol_of(study, trainings(study)[0], 0.05).labels == "teachers");

  set.labels = data::SoftLabels{.classes = set.class_index, .values = at::zeros({8, 4})};
  CHECK(trainings(small_study(set, "lrs", 90)).size() == 3);
}

TEST_CASE("a step size that the set has learned is not searched for", "[experiments][dd-ranking]") {
  data::SyntheticSet set = some_images(0);
  set.learned_lr = 0.03;
  Study study = small_study(set, "ars", std::nullopt);
  CHECK(trainings(study)[0].rates == study.protocol.lr_search);
  study.protocol.step_size = "learned";
  const auto all = trainings(study);
  REQUIRE(all.size() == 4);
  CHECK(all[0].rates == std::vector<double>{0.03});
  CHECK(all[1].rates == study.protocol.lr_search);
  CHECK_FALSE(all[2].augmented);
}

TEST_CASE("the network on real images drops its step size halfway, without augmentation",
          "[experiments][dd-ranking]") {
  const data::SyntheticSet set = some_images(0);
  Study study = small_study(set, "lrs", std::nullopt);
  study.protocol.real_epochs = 200;
  study.protocol.real_batch_size = 512;
  const auto options =
      protocol_of(study, trainings(study)[0], study.protocol.real_lr).train_options(false);
  CHECK(options.epochs == 200);
  CHECK(options.batch_size == 512);
  CHECK(options.augmentation.operations.empty());
  REQUIRE(options.drops.size() == 1);
  CHECK(options.drops[0].after_epoch == 99);
  CHECK(options.drops[0].factor == 0.1);
  CHECK(options.weight_decay == 5e-4);
}

TEST_CASE("a score is made of the best of all tests and step sizes", "[experiments][dd-ranking]") {
  const data::SyntheticSet set = some_images(0);
  const Study study = small_study(set, "lrs", std::nullopt);
  Shelf shelf;
  const auto all = make_on(study, shelf);
  REQUIRE(all.size() == 2);
  REQUIRE(all[0].outcomes.size() == 3);
  CHECK(all[1].outcomes.size() == 2);  // real data is trained on once
  CHECK(shelf.kept == 1 + 2 * 4);
  for (const Repetition& repetition : all) {
    for (const Outcome& outcome : repetition.outcomes) {
      for (const auto& run : outcome.runs) {
        REQUIRE(run);
        CHECK(run->seed == repetition.seed);
        CHECK(best_of(*run) >= run->last);
        CHECK(outcome.accuracy() >= best_of(*run));
      }
    }
  }
  const LabelAccuracies second = label_accuracies(study, all, 1);
  CHECK(second.real_hard == Approx(all[0].outcomes[0].accuracy() / 100));
  CHECK(second.set_hard == second.set);
  CHECK(second.set == Approx(all[1].outcomes[0].accuracy() / 100));
  CHECK(second.random == Approx(all[1].outcomes[1].accuracy() / 100));

  // Everything was kept: with another weight nothing is trained again.
  Study other = study;
  other.protocol.score_weight = 0.25;
  const auto again = make_on(other, shelf);
  CHECK(shelf.kept == 1 + 2 * 4);
  CHECK(label_accuracies(other, again, 1).set == second.set);

  const auto document = to_json(study, all);
  CHECK(document["schema"] == "retort.ranking/1");
  CHECK(document["trainings"].size() == 3);
  CHECK(document["trainings"][1]["trials"].size() == 2);
  CHECK(document["trainings"][1]["trials"][0][1]["lr"] == 0.05);
  CHECK(document["lrs"]["runs"][1] == Approx(second.score(0.5)));
  CHECK(document["hlr"]["runs"][1] == Approx(100 * second.hlr()));
  CHECK(document["ior"]["runs"].size() == 2);
  CHECK(document["real_accuracy_given"].is_null());
}

TEST_CASE("ARS compares with augmentation and without", "[experiments][dd-ranking]") {
  const data::SyntheticSet set = some_images(0);
  Study study = small_study(set, "ars", std::nullopt);
  study.seeds = {3};
  Shelf shelf;
  const auto all = make_on(study, shelf);
  REQUIRE(all.front().outcomes.size() == 4);
  const AugmentationAccuracies found = augmentation_accuracies(all.front());
  CHECK(found.set_augmented == Approx(all.front().outcomes[0].accuracy() / 100));
  CHECK(found.random_plain == Approx(all.front().outcomes[3].accuracy() / 100));
  auto document = to_json(study, all);
  CHECK(document["ars"]["mean"] == Approx(found.score(0.5)));
  document["set"] = "set.h5";
  document["dataset"] = "shapes";
  document["tested_on"] = "test";
  const std::string table = to_table(document, study.protocol, false);
  CHECK_THAT(table, Contains("set.h5") && Contains("random") && Contains("ARS") &&
                        Contains("* chosen on the test images among all tests and step sizes"));
}

TEST_CASE("a step size at which training diverges is out of the choice",
          "[experiments][dd-ranking]") {
  const data::SyntheticSet set = some_images(0);
  Study study = small_study(set, "ars", std::nullopt);
  study.seeds = {0};
  study.protocol.lr_search = {1e30, 0.01};
  Shelf shelf;
  const Warnings warnings;
  const auto all = make_on(study, shelf);
  const Outcome& outcome = all.front().outcomes.front();
  CHECK_FALSE(outcome.runs[0]);
  CHECK(outcome.step_size() == 0.01);
  REQUIRE_FALSE(warnings.texts().empty());
  CHECK_THAT(warnings.texts().front(), Contains("step size 1e+30 is out of the choice"));
  CHECK(to_json(study, all)["trainings"][0]["trials"][0][0]["best"].is_null());
  study.protocol.lr_search = {1e30};
  CHECK_THROWS_AS(make_on(study, shelf), NumericalError);
}

TEST_CASE("a stopped study is interrupted and goes on from what was kept",
          "[experiments][dd-ranking]") {
  const data::SyntheticSet set = some_images(0);
  const Study study = small_study(set, "ars", std::nullopt);
  Shelf shelf;
  StopFlag stop;
  shelf.stop = &stop;
  CHECK_THROWS_AS(make_on(study, shelf, stop), Interrupted);
  CHECK(shelf.kept >= 1);
  shelf.stop = nullptr;
  const auto resumed = to_json(study, make_on(study, shelf));
  Shelf other;
  const auto whole = to_json(study, make_on(study, other));
  CHECK(shelf.kept == other.kept);  // nothing was trained twice
  CHECK(resumed["ars"] == whole["ars"]);
}

TEST_CASE("random images beside learned labels are said to have their classes",
          "[experiments][dd-ranking]") {
  data::SyntheticSet set = some_images(0);
  const std::int64_t count = set.images.size(0);
  data::SoftLabels learned;
  learned.values = at::full({count, set.num_classes()}, 0.1);
  learned.classes = data::hard_classes(set.labels);
  set.labels = learned;
  for (const Training& training : trainings(small_study(set, "ars", std::nullopt))) {
    CHECK(training.hard == (training.subject == Subject::Random));
  }
}

TEST_CASE("protocols that end in a score choose among tests and step sizes",
          "[experiments][dd-ranking][protocol]") {
  for (const char* name :
       {"ddranking-lrs", "ddranking-ars", "ddranking-lrs-soft", "ddranking-ars-soft"}) {
    INFO(name);
    const auto protocol = experiments::load_protocol(name);
    CHECK(protocol.ranks());
    CHECK(protocol.lr_search == std::vector<double>{0.001, 0.005, 0.01, 0.05, 0.1});
    CHECK(protocol.test_every == (protocol.taught() ? 20 : 10));
    CHECK(protocol.score_weight == 0.5);
    CHECK(protocol.step_size == "learned");
  }
  const auto lrs = experiments::load_protocol("ddranking-lrs");
  CHECK_THROWS_WITH(eval::changed(lrs, {"test-every=0"}), Contains("needs test-every"));
  const auto ars = experiments::load_protocol("ddranking-ars-soft");
  CHECK_THROWS_WITH(eval::changed(ars, {"labels=views"}), Contains("without augmentation"));
}
