#include "methods/decoupled/recover_options.h"

#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "methods/decoupled/stored_pixels.h"

namespace retort::methods::decoupled {

using config::in_range;
using config::one_of;

namespace {

constexpr std::int64_t kMany = 1'000'000'000;
constexpr double kSmallestCrop = 0.001;

}  // namespace

void RecoverOptions::describe(config::OptionTable& table) {
  table.add("iterations", iterations, "steps of every image", in_range(std::int64_t{1}, kMany));
  describe_teachers(table);
  describe_loss(table);
  describe_views(table);
  if (!compensators) describe_store(table, store);
}

void RecoverOptions::describe_teachers(config::OptionTable& table) {
  teachers.describe(table, "networks to recover from");
  if (compensators) return;
  table.add("committee", committee,
            "who recovers an image: the one teacher there is; two of them, by its place in its "
            "class (CV-DD); all; or each in turn, one an iteration",
            one_of({"single", "pairs", "all", "round-robin"}));
  table
      .add("priors", priors,
           "of each teacher, percent: the more, the more it says. The paper's are accuracies of "
           "students on what is recovered from it alone; nothing: percent of training images that "
           "it knows, which are measured",
           in_range(0.0, 100.0))
      .not_with("committee", {"single", "round-robin"});
  table
      .add("vote-temperature", vote_temperature, "teachers say as much as exp(prior / temperature)",
           config::positive())
      .not_with("committee", {"single", "round-robin"});
  table
      .add("pair", pair,
           "the two teachers of one image per class, by network or number; nothing: those of the "
           "largest priors",
           teacher_rule())
      .only_with("committee", {"pairs"});
}

void RecoverOptions::describe_loss(config::OptionTable& table) {
  table
      .add("lr-images", lr_images,
           "step size at first; 0.1 to 0.25 suit images of 28 and 32 pixels", config::positive())
      .aliases = {"lr"};
  table.add("r-bn", r_bn,
            "weight of the statistics of BatchNorm. Depends on network and dataset: such that the "
            "metrics' batch_norm times it is about the cross-entropy at the start, or half of "
            "that; 0.1 to 1 for ConvNet-3, 0.01 to 0.05 for R18m",
            config::non_negative());
  table
      .add("first-bn-multiplier", first_bn_multiplier,
           "weight of the first BatchNorm layer beside the others", config::non_negative())
      .not_with("r-bn", {"0"});
  table
      .add("balance-statistics", balance_statistics,
           "scale the statistics of each teacher so that at the start they are as far away as the "
           "first one's: those of a network with more channels are farther")
      .not_with("r-bn", {"0"});
  table
      .add("tv", tv, "weight of the total variation of a batch (the code's default is 1e-4)",
           config::non_negative())
      .aliases = {"tv-l2"};
  table
      .add("l2", l2, "weight of the mean norm of images (the code's default is 1e-5)",
           config::non_negative())
      .aliases = {"l2-scale"};
  if (compensators) return;
  table.add("layout", layout,
            "who shares a BatchNorm batch: an image of each of some classes, or images of one "
            "class (LPLD)",
            one_of({"across-class", "within-class"}));
  table.add("batch-images", batch_images,
            "largest number of images in such a batch; best one of every class",
            in_range(std::int64_t{1}, std::int64_t{1'000'000}));
  table
      .add("statistics", statistics,
           "which statistics a batch shall have: those of training, or of its class (LPLD)",
           one_of({"global", "class"}))
      .not_with("r-bn", {"0"});
  table.add("init", init,
            "what images start from: noise, random real images, or crops that the best teacher "
            "finds realistic (RDED)",
            one_of({"gaussian", "real", "mosaic"}));
  config::OptionTable of_crops;
  crops.describe(of_crops);
  for (config::Option& option : of_crops.options()) option.only_with("init", {"mosaic"});
  table.append(std::move(of_crops));
}

void RecoverOptions::describe_views(config::OptionTable& table) {
  table.add("crop-area", crop_area,
            "of the smallest crop that an iteration looks at, over the image's; 1: no crop. 0.4 "
            "suits images of 28 and 32 pixels",
            in_range(kSmallestCrop, 1.0));
  table
      .add("curriculum", curriculum,
           "how the smallest crop gets there from the whole image (CDA); none: it is there from "
           "the start",
           one_of({"none", "step", "linear", "cosine"}))
      .not_with("crop-area", {"1"});
  table
      .add("curriculum-start", curriculum_start,
           "of the smallest crop at first, over the image's. Whole images keep the borders of "
           "mosaics for long: with those start at 0.5 or less",
           in_range(kSmallestCrop, 1.0))
      .not_with("curriculum", {"none"});
  table
      .add("milestone", milestone, "part of the iterations after which it is there",
           in_range(0.0, 1.0))
      .not_with("curriculum", {"none"});
  table.add("flip", flip,
            "mirror the batch by a coin, add its mirror images (FYI; twice the time), or neither; "
            "auto: coin, but none on digits",
            one_of({"auto", "coin", "both", "none"}));
  table
      .add("roll", roll,
           "pixels by which images are shifted at most, round the border; 2 to 4 suit 28 and 32 "
           "pixels",
           in_range(std::int64_t{0}, std::int64_t{1024}))
      .aliases = {"jitter"};
  table.add("roll-both-ways", roll_both_ways, "shift upwards and to the left as well")
      .not_with("roll", {"0"});
}

void RecoverOptions::check() const {
  if (curriculum != "none" && curriculum_start < crop_area) {
    throw ConfigError(str("curriculum-start ", curriculum_start, " with crop-area ", crop_area,
                          ": crops become smaller along a curriculum; start above where it ends"));
  }
  if (compensators) return;
  if (statistics == "class" && layout != "within-class") {
    throw ConfigError(
        "statistics class with layout across-class: a batch that shall have the statistics of a "
        "class needs images of that class alone; take layout within-class");
  }
  if (committee == "pairs" && layout != "across-class") {
    throw ConfigError(
        "committee pairs with layout within-class: pairs belong to places in a class, and a batch "
        "of one class holds several; take committee all or layout across-class");
  }
}

Prerequisites RecoverOptions::prerequisites() const {
  auto needed = teachers.needed();
  if (!needed) return {};
  check();
  const std::vector<std::string> chosen = teachers.chosen();
  if (!compensators && committee == "single" && chosen.size() != 1) {
    throw ConfigError(str("committee single recovers from one teacher, to be made are ",
                          chosen.size(), ": ", join(chosen),
                          "; choose one by --teacher-names, or another --committee"));
  }
  if (!compensators && committee == "pairs" && chosen.size() < 2) {
    throw ConfigError(str("a committee of pairs needs 2 teachers or more, to be made are ",
                          chosen.size(), ": ", join(chosen)));
  }
  needed->batch_norm = r_bn != 0;
  if (r_bn != 0 && statistics == "class") needed->class_statistics = "ema";
  return {.teachers = std::move(needed)};
}

LossWeights RecoverOptions::loss_weights() const {
  return {.batch_norm = r_bn, .first_layer = first_bn_multiplier, .tv = tv, .l2 = l2};
}

Curriculum RecoverOptions::view_curriculum() const {
  if (curriculum == "none") return {.lowest = crop_area, .milestone = 0};
  return {.course = Curriculum::course_of(curriculum),
          .lowest = crop_area,
          .milestone = milestone,
          .highest = curriculum_start};
}

augment::ViewPolicy RecoverOptions::view_policy(double smallest_area,
                                                bool mirror_changes_class) const {
  return {.crop = crop_area < 1,
          .smallest_area = smallest_area,
          .flip = flip == "coin" || (flip == "auto" && !mirror_changes_class),
          .roll_from = roll_both_ways ? -roll : 0,
          .roll_to = roll};
}

}  // namespace retort::methods::decoupled
