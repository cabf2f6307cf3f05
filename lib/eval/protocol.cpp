#include "lib/eval/protocol.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/nn/naming.h"

namespace retort::eval {
namespace {

/// What options say together.
void expect_whole(const Protocol& protocol) {
  protocol.train_options(false);
  protocol.train_options(true);
}

/// Name and value.
std::vector<std::pair<std::string, std::string>> assignments(
    const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> result;
  for (const std::string& text : texts) {
    const auto sign = text.find('=');
    if (sign != std::string::npos) {
      result.emplace_back(text.substr(0, sign), text.substr(sign + 1));
    } else if (!result.empty()) {
      result.back().second += "," + text;
    } else {
      throw ConfigError(str("a change of a protocol: expected option=value, found '", text, "'"));
    }
  }
  return result;
}

}  // namespace

void Protocol::describe(config::OptionTable& table) {
  using namespace config;
  table.add("source", source, "paper or code base and what differs, one line", any_text());
  describe_schedule(table);
  describe_steps(table);
  describe_labels(table);
  describe_views(table);
  table.add("networks", networks, "fresh networks if no seeds are given",
            in_range(std::int64_t{1}, std::int64_t{1000}));
  table.add(
      "net", net,
      "architecture if none is given; a ConvNet without a depth: as deep as the image size asks",
      any_text());
  table.add("test-every", test_every, "epochs between extra tests for `best`; 0: none",
            at_least(std::int64_t{0}));
  describe_score(table);
}

void Protocol::describe_schedule(config::OptionTable& table) {
  using namespace config;
  table.add("epochs", epochs, "nominal epochs", in_range(std::int64_t{1}, std::int64_t{1000000}));
  table.add("schedule", schedule,
            "dc: E+1 epochs and one drop with a new optimiser; steps: E epochs and drop-epochs; "
            "cosine, linear: E epochs, falling",
            one_of({"dc", "steps", "cosine", "linear"}));
  table
      .add("drop-epochs", drop_epochs, "steps: the step size drops after these, counted from 1",
           at_least(std::int64_t{1}))
      .not_with("schedule", {"cosine", "linear"});
  table.add("drop-factor", drop_factor, "factor of every drop", positive())
      .not_with("schedule", {"cosine", "linear"});
  table
      .add("drop-momentum", drop_momentum, "of SGD after a drop; -1: as before",
           in_range(-1.0, 1.0))
      .only_with("optimizer", {"sgd"})
      .not_with("schedule", {"cosine", "linear"});
  table.add("smoothing", smoothing, "of a cosine: 1 ends at 0, 2 at half the step size", positive())
      .only_with("schedule", {"cosine"});
  table
      .add("warmup-epochs", warmup_epochs,
           "in which the step size grows from a hundredth, before it falls",
           at_least(std::int64_t{0}))
      .only_with("schedule", {"cosine", "linear"});
  table.add("step-size", step_size,
            "learned: the one the set has learned, where it has one; protocol: lr",
            one_of({"protocol", "learned"}));
  table.add("lr", lr, "step size at the start", positive());
}

void Protocol::describe_steps(config::OptionTable& table) {
  using namespace config;
  table.add("optimizer", optimizer, "of the networks", one_of({"sgd", "adam", "adamw"}));
  table.add("momentum", momentum, "of SGD", in_range(0.0, 1.0)).only_with("optimizer", {"sgd"});
  table.add("beta1", beta1, "of Adam", in_range(0.0, 1.0)).not_with("optimizer", {"sgd"});
  table.add("beta2", beta2, "of Adam", in_range(0.0, 1.0)).not_with("optimizer", {"sgd"});
  table.add("weight-decay", weight_decay, "of all parameters, or as decays says", non_negative());
  table
      .add("decays", decays, "weights: those of convolutions and linear layers alone",
           one_of({"all", "weights"}))
      .not_with("optimizer", {"sgd"});
  table.add("batch-size", batch_size, "images per step; the last partial batch is used",
            in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("batch-size-by-ipc", batch_size_by_ipc,
            "in place of batch-size: 1:10, 10:50 is 10 images per step for sets of 1 image per "
            "class or more, 50 from 10 on",
            any_text());
  table.add("batch-norm-group", batch_norm_group,
            "BatchNorm sees so many images of a step at a time, or as large a part of fewer images "
            "than batch-size; 0: all",
            in_range(std::int64_t{0}, std::int64_t{100000}));
}

void Protocol::describe_labels(config::OptionTable& table) {
  using namespace config;
  table.add("labels", labels,
            "set: those of the set; views: recorded ones of views; teachers: theirs, asked view "
            "by view; static: recorded ones of images as they are",
            one_of({"set", "views", "teachers", "static"}));
  table
      .add("teacher-batch-norm", teacher_batch_norm,
           "of teachers who are asked: the statistics of training (eval), or those of the "
           "mini-batch, by batch-norm-group as for the student (batch)",
           one_of({"eval", "batch"}))
      .only_with("labels", {"teachers"});
  table
      .add("loss", loss, "of what teachers say; mse-ce: squared error of logits, and cross-entropy",
           one_of({"cross-entropy", "kl", "mse-ce"}))
      .not_with("labels", {"set"});
  table.add("temperature", temperature, "of both predictions", positive())
      .only_with("loss", {"kl"});
  table
      .add("temperature-factor", temperature_factor, "of the loss: its square, or none",
           one_of({"none", "square"}))
      .only_with("loss", {"kl"});
  table.add("hard-weight", hard_weight, "of the cross-entropy with classes", non_negative())
      .only_with("loss", {"mse-ce"});
  table
      .add("hard-classes", hard_classes, "of mixed images: an image's own, or both by their shares",
           one_of({"own", "mixed"}))
      .only_with("loss", {"mse-ce"});
}

void Protocol::describe_views(config::OptionTable& table) {
  using namespace config;
  table.add("augmentation", augmentation, "operations joined by _, or none", any_text())
      .not_with("labels", {"views"});
  table
      .add("augmentation-digits", augmentation_digits,
           "the same for digits, where mirroring harms; empty: as augmentation", any_text())
      .not_with("labels", {"views"});
  table
      .add("augmentation-style", augmentation_style, "whose conventions augmentation follows",
           one_of({"dsa", "mtt", "fyi", "idc"}))
      .not_with("labels", {"views"});
  table
      .add("pixel-augmentation", pixel_augmentation,
           "on 8-bit pixels, one draw per mini-batch, in place of augmentation (DC-BENCH)",
           one_of(augment::pixel_recipe_names()))
      .only_with("labels", {"set"});
  table
      .add("plain-epochs", plain_epochs,
           "nominal epochs where --augment none leaves all out; 0: as epochs",
           in_range(std::int64_t{0}, std::int64_t{1000000}))
      .only_with("labels", {"set"});
  table
      .add("cutmix-probability", cutmix_probability, "of CutMix in a mini-batch",
           in_range(0.0, 1.0))
      .only_with("labels", {"set"});
  table
      .add("patch-shuffle", patch_shuffle,
           "columns, then rows of so many patches a side are shuffled in every image; 1: none",
           in_range(std::int64_t{1}, std::int64_t{64}))
      .only_with("labels", {"teachers", "static"});
  table
      .add("crop-area", crop_area, "smallest area of a crop over the image's; 1: no crop",
           in_range(1e-3, 1.0))
      .only_with("labels", {"teachers", "static"});
  table.add("flip", flip, "images are mirrored with equal chances, digits are not")
      .only_with("labels", {"teachers", "static"});
  table.add("mix", mix, "of a mini-batch", one_of({"none", "cutmix", "mixup"}))
      .only_with("labels", {"teachers", "static"});
}

void Protocol::describe_score(config::OptionTable& table) {
  using namespace config;
  table.add("score", score,
            "DD-Ranking's label (lrs) or augmentation robust score (ars), of accuracies that are "
            "the best of all tests and step sizes, chosen on the test images; none: accuracies",
            one_of({"none", "lrs", "ars"}));
  table
      .add("score-weight", score_weight,
           "of the improvement over random images (lrs), of augmented training (ars); the other "
           "difference has the rest",
           in_range(0.0, 1.0))
      .not_with("score", {"none"});
  table.add("lr-search", lr_search, "step sizes to choose from, a training each", positive())
      .not_with("score", {"none"});
  table
      .add("augment-hard", augment_hard,
           "also where students learn the classes of the set, of mixed images both by their shares")
      .only_with("score", {"lrs"})
      .not_with("labels", {"set"});
  table
      .add("hard-test-every", hard_test_every, "test-every where students learn classes",
           at_least(std::int64_t{1}))
      .only_with("score", {"lrs"});
  table
      .add("real-epochs", real_epochs,
           "of the network on all real images by SGD without augmentation, whose step size drops "
           "to a tenth halfway",
           in_range(std::int64_t{1}, std::int64_t{1000000}))
      .only_with("score", {"lrs"});
  table
      .add("real-batch-size", real_batch_size, "images per step of this network",
           in_range(std::int64_t{1}, std::int64_t{100000}))
      .only_with("score", {"lrs"});
  table.add("real-lr", real_lr, "step size of this network", positive())
      .only_with("score", {"lrs"});
}

std::string Protocol::network_for(nn::ImageShape shape) const {
  return nn::with_depth(net, nn::default_convnet_depth(shape));
}

train::TrainOptions Protocol::train_options(bool mirror_changes_class) const {
  train::TrainOptions options;
  options.epochs = epochs;
  options.lr = lr;
  options.momentum = momentum;
  options.weight_decay = weight_decay;
  options.batch_size = batch_size;
  options.batch_norm_group = batch_norm_group;
  options.cutmix_probability = cutmix_probability;
  options.augmentation = strategy(mirror_changes_class);
  options.loss = student_loss();
  set_optimizer(options);
  set_schedule(options);
  check_together();
  return options;
}

augment::Strategy Protocol::strategy(bool mirror_changes_class) const {
  const bool digits = mirror_changes_class && !augmentation_digits.empty();
  return augment::Strategy::of(digits ? augmentation_digits : augmentation, augmentation_style);
}

train::StudentLoss Protocol::student_loss() const {
  using Kind = train::StudentLoss::Kind;
  return {.kind = loss == "kl"       ? Kind::Divergence
                  : loss == "mse-ce" ? Kind::SquaredError
                                     : Kind::CrossEntropy,
          .temperature = temperature,
          .temperature_squared = temperature_factor == "square",
          .hard_weight = hard_weight};
}

void Protocol::set_optimizer(train::TrainOptions& options) const {
  using Method = train::TrainOptions::Method;
  options.method = optimizer == "sgd"    ? Method::Sgd
                   : optimizer == "adam" ? Method::Adam
                                         : Method::AdamW;
  options.beta1 = beta1;
  options.beta2 = beta2;
  if (decays == "weights") options.decays = train::TrainOptions::Decays::Weights;
}

void Protocol::set_schedule(train::TrainOptions& options) const {
  using Schedule = train::TrainOptions::Schedule;
  options.smoothing = smoothing;
  options.warmup_epochs = warmup_epochs;
  if (schedule == "cosine") options.schedule = Schedule::Cosine;
  if (schedule == "linear") options.schedule = Schedule::Linear;
  if (schedule == "dc") options = train::dc_schedule(std::move(options), epochs);
  if (schedule != "steps" && !drop_epochs.empty()) {
    throw ConfigError(str("drop-epochs: expected none, the schedule ", schedule,
                          " has its own; found ", join(drop_epochs)));
  }
  for (const std::int64_t epoch : drop_epochs) {
    if (epoch < 1 || epoch > epochs) {
      throw ConfigError(str("drop-epochs: expected 1 .. ", epochs, ", found ", epoch));
    }
    options.drops.push_back({.after_epoch = epoch - 1});
  }
  for (auto& drop : options.drops) {
    drop.factor = drop_factor;
    if (drop_momentum >= 0) drop.momentum = drop_momentum;
  }
}

void Protocol::check_together() const {
  const bool falling = schedule == "cosine" || schedule == "linear";
  if (warmup_epochs > 0 && (!falling || warmup_epochs >= epochs)) {
    throw ConfigError(
        str("warmup-epochs: expected fewer than epochs, and a schedule that falls, "
            "found ",
            warmup_epochs, " of ", epochs, " with schedule ", schedule));
  }
  if (optimizer == "sgd" && decays == "weights") {
    throw ConfigError("decays: weights alone needs optimizer adam or adamw");
  }
  const bool augmented = augmentation != "none" || !augmentation_digits.empty();
  if (pixel_augmentation != "none" && augmented) {
    throw ConfigError(str("pixel-augmentation: ", pixel_augmentation,
                          " takes the place of augmentation and augmentation-digits, which must ",
                          "be none and empty, found ", augmentation, " and '", augmentation_digits,
                          "'"));
  }
  if (!taught() && loss != "cross-entropy") {
    throw ConfigError(str("loss: ", loss, " compares with teachers, and labels is set"));
  }
  if (ranks() && (test_every == 0 || lr_search.empty())) {
    throw ConfigError(
        str("score: ", score, " needs test-every and lr-search, which it chooses among"));
  }
  if (score == "ars" && labels == "views") {
    throw ConfigError("score: ars also trains without augmentation, and labels is views");
  }
  batch_sizes();
}

std::map<std::int64_t, std::int64_t> Protocol::batch_sizes() const {
  std::map<std::int64_t, std::int64_t> sizes;
  for (const std::string& entry : batch_size_by_ipc) {
    std::istringstream text(entry);
    std::int64_t ipc = 0;
    std::int64_t size = 0;
    char colon = 0;
    std::string rest;
    if (!(text >> ipc >> colon >> size) || colon != ':' || (text >> rest) || ipc < 1 || size < 1) {
      throw ConfigError(
          str("batch-size-by-ipc: expected images per class and a batch size as in "
              "10:50, found '",
              entry, "'"));
    }
    sizes[ipc] = size;
  }
  return sizes;
}

train::ViewRecipe Protocol::view_recipe(bool mirror_changes_class) const {
  using Kind = data::Mix::Kind;
  train::ViewRecipe recipe;
  recipe.batch_size = batch_size;
  recipe.patches = patch_shuffle;
  recipe.augmentation = strategy(mirror_changes_class);
  recipe.view.crop = crop_area < 1;
  recipe.view.smallest_area = crop_area;
  recipe.view.flip = flip && !mirror_changes_class;
  recipe.mix = mix == "cutmix" ? Kind::CutMix : mix == "mixup" ? Kind::MixUp : Kind::None;
  return recipe;
}

augment::PixelRecipe Protocol::pixel_recipe(bool mirror_changes_class) const {
  auto recipe = augment::PixelRecipe::parse(pixel_augmentation);
  recipe.mirror = !mirror_changes_class;
  return recipe;
}

Protocol Protocol::for_set(const data::SyntheticSet& set) const {
  Protocol protocol = *this;
  if (step_size == "learned" && set.learned_lr) protocol.lr = *set.learned_lr;
  const std::int64_t ipc = set.images.size(0) / std::max<std::int64_t>(1, set.num_classes());
  for (const auto& [from, size] : batch_sizes()) {
    if (ipc >= from) protocol.batch_size = size;
  }
  return protocol;
}

std::map<std::string, std::string> Protocol::options_in_use() const {
  Protocol copy = *this;  // describing binds to fields that may be set
  config::OptionTable table;
  copy.describe(table);
  return table.in_use();
}

Protocol parse_protocol(const std::string& name, const std::string& text,
                        const std::string& source) {
  Protocol protocol;
  protocol.name = name;
  config::OptionTable table;
  protocol.describe(table);
  config::apply_config(table, config::parse_config(text, source), source, config::Origin::File);
  with_context(source, [&] { expect_whole(protocol); });
  return protocol;
}

std::vector<std::string> augmentation_names() {
  std::vector<std::string> names = augment::pixel_recipe_names();
  names.insert(names.begin() + 1, "dsa");
  return names;
}

Protocol without_augmentation(const Protocol& protocol) {
  const Protocol plain;
  Protocol result = protocol;
  result.augmentation = "none";
  result.augmentation_digits.clear();
  result.pixel_augmentation = plain.pixel_augmentation;
  result.cutmix_probability = plain.cutmix_probability;
  result.patch_shuffle = plain.patch_shuffle;
  result.crop_area = plain.crop_area;
  result.flip = plain.flip;
  result.mix = plain.mix;
  return result;
}

Protocol with_augmentation(const Protocol& protocol, const std::string& name) {
  const auto known = augmentation_names();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw ConfigError(unknown_name_message("augmentation", name, known));
  }
  if (protocol.taught()) {
    throw ConfigError(str("protocol '", protocol.name, "' trains on labels of teachers, which ",
                          "belong to its own views: no other augmentation, found ", name));
  }
  Protocol result = without_augmentation(protocol);
  const bool dsa = name == "dsa";
  if (dsa) {
    result.augmentation = augment::usual_operations(false);
    result.augmentation_digits = augment::usual_operations(true);
    result.augmentation_style = "dsa";
  }
  result.pixel_augmentation = dsa ? "none" : name;
  if (name == "none" && protocol.plain_epochs > 0) result.epochs = protocol.plain_epochs;
  with_context(str("protocol '", protocol.name, "'"), [&] { expect_whole(result); });
  return result;
}

Protocol changed(const Protocol& protocol, const std::vector<std::string>& changes) {
  Protocol result = protocol;
  config::OptionTable table;
  result.describe(table);
  std::vector<std::string> said;
  bool batch_size_given = false;
  for (const auto& [name, value] : assignments(changes)) {
    const std::string before = table.find(name).value();
    table.set(name, value, config::Origin::Flag);
    const std::string now = table.find(name).value();
    batch_size_given = batch_size_given || table.find(name).name == "batch-size";
    if (now != before) said.push_back(str(table.find(name).name, " = ", now));
  }
  if (batch_size_given) result.batch_size_by_ipc.clear();
  table.refuse_unused_flags();
  with_context(str("protocol '", protocol.name, "'"), [&] { expect_whole(result); });
  if (!said.empty()) result.name = str(protocol.name, " (", join(said), ")");
  return result;
}

}  // namespace retort::eval
