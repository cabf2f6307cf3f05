#include "lib/train/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "lib/augment/augment.h"
#include "lib/core/clock.h"
#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/train/recipe_settings.h"

namespace retort::train {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

config::Rule<std::string> augmentation_text() {
  return {"none, auto, or of color, crop, cutout, flip, scale, rotate joined by _",
          [](const std::string& text) {
            if (text == "auto") return true;
            augment::Strategy::parse(text);  // its message names the unknown operation
            return true;
          }};
}

std::string file_method(const std::string& recipe) { return recipe == "ftd" ? "gsam" : recipe; }

/// @throws ConfigError for a network that parameters alone do not make up
void expect_no_batch_norm(const nn::Network& network) {
  if (!network.has_batch_norm()) return;
  throw ConfigError(str("experts: '", network.name(),
                        "' has BatchNorm, whose running statistics are no parameters and would be "
                        "missing from a trajectory; choose a network with another norm"));
}

TrainOptions stoppable(TrainOptions options, const StopFlag* stop) {
  options.stop = stop;
  return options;
}

/// In pieces that LibTorch adds up on one thread each: the same bits on any number of them.
double length(const Tensor& a) {
  constexpr std::int64_t kPiece = 16384;
  double squares = 0;
  for (const Tensor& piece : a.split(kPiece)) {
    squares += at::sum(piece.square(), at::kDouble).item<double>();
  }
  return std::sqrt(squares);
}

/// Adds the snapshot of the epochs done so far.
void add_snapshot(storage::ExpertPart& part, const ExpertTraining& training,
                  storage::SnapshotLog entry) {
  Tensor snapshot = training.snapshot();
  entry.norm = length(snapshot);
  entry.step_norm = part.snapshots.empty() ? 0 : length(snapshot - part.snapshots.back());
  part.snapshots.push_back(std::move(snapshot));
  part.log.push_back(entry);
}

storage::SnapshotLog log_entry(const EpochReport* report, const std::optional<ExpertTest>& test,
                               double seconds) {
  storage::SnapshotLog entry;
  entry.train_loss = report != nullptr ? report->loss : kNaN;
  entry.train_accuracy = report != nullptr ? 100 * report->accuracy : kNaN;
  entry.test_loss = test ? test->loss : kNaN;
  entry.test_accuracy = test ? test->accuracy : kNaN;
  entry.wall_seconds = seconds;
  return entry;
}

/// One expert between its part and its hooks.
class PartTraining {
 public:
  PartTraining(storage::ExpertPart& part, ExpertTraining& training, const ExpertHooks& hooks)
      : part_(part), training_(training), hooks_(hooks) {}

  void run() {
    if (part_.snapshots.empty()) {
      start();
    } else {
      go_on();
    }
    while (!training_.finished()) next_epoch();
    part_.complete = true;
    part_.state = {};
    if (hooks_.save) hooks_.save(part_);
  }

 private:
  void start() {
    began_ = wall_seconds();
    const auto tested = test();
    add_snapshot(part_, training_, log_entry(nullptr, tested, take_seconds()));
    save();
  }

  void go_on() {
    const storage::StateReader state(part_.state);
    training_.load_state(state);
    seconds_before_ = state.number("expert/seconds");
    const std::int64_t done = training_.epochs_done();
    const auto kept = std::count_if(part_.info.epochs.begin(), part_.info.epochs.end(),
                                    [done](std::int64_t epoch) { return epoch <= done; });
    if (std::int64_t(part_.snapshots.size()) != kept) {
      throw StorageError(str("part of expert ", part_.number, ": expected ", kept,
                             " snapshots after ", done, " epochs, found ", part_.snapshots.size()));
    }
    began_ = wall_seconds();
  }

  void next_epoch() {
    const double start = wall_seconds();
    EpochReport report;
    try {
      report = training_.epoch(hooks_.after_step);
    } catch (const Interrupted&) {
      save();
      throw;
    }
    const double trained = wall_seconds() - start;
    const auto tested = test();
    if (part_.info.epochs[part_.snapshots.size()] == training_.epochs_done()) {
      add_snapshot(part_, training_, log_entry(&report, tested, take_seconds()));
    }
    if (hooks_.after_epoch) hooks_.after_epoch(report, tested, trained);
    if (!training_.finished() && wall_seconds() - saved_ > kSavingShare * saving_) save();
  }

  std::optional<ExpertTest> test() const {
    return hooks_.test ? hooks_.test(training_.epochs_done(), training_.state()) : std::nullopt;
  }

  void save() {
    if (!hooks_.save) return;
    const double start = wall_seconds();
    part_.state = {};
    training_.save_state(part_.state);
    part_.state.number("expert/seconds", seconds_before_ + start - began_);
    hooks_.save(part_);
    saved_ = wall_seconds();
    saving_ = saved_ - start;
  }

  /// Since the snapshot before, over all sessions.
  double take_seconds() {
    const double now = wall_seconds();
    const double seconds = std::exchange(seconds_before_, 0) + now - std::exchange(began_, now);
    return seconds;
  }

  // The whole part is written each time, so that small epochs of long trajectories would cost less
  // than keeping them.
  static constexpr double kSavingShare = 20;

  storage::ExpertPart& part_;
  ExpertTraining& training_;
  const ExpertHooks& hooks_;
  double began_ = 0;           ///< when this session began, or the last snapshot was added
  double seconds_before_ = 0;  ///< that earlier sessions spent since the last snapshot
  double saved_ = 0;
  double saving_ = 0;  ///< seconds that the last one took
};

}  // namespace

const std::vector<std::string>& ExpertRecipe::names() {
  static const std::vector<std::string> all{"sgd", "ftd", "ast"};
  return all;
}

ExpertRecipe ExpertRecipe::defaults(const std::string& name) {
  if (std::find(names().begin(), names().end(), name) == names().end()) {
    throw ConfigError(unknown_name_message("recipe", name, names()));
  }
  ExpertRecipe recipe;
  recipe.name = name;
  if (name == "ast") {
    recipe.lr = 0.003;
    recipe.momentum = 0.9;
    recipe.weight_decay = 1e-3;
    recipe.lr_drop = 0.6;
  }
  return recipe;
}

void ExpertRecipe::describe(config::OptionTable& table) {
  using namespace config;
  table.add("epochs", epochs, "passes over the training images",
            in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("lr", lr, "step size at the start", positive());
  table.add("momentum", momentum, "of SGD", in_range(0.0, 1.0));
  table.add("weight-decay", weight_decay, "on all parameters", non_negative());
  table.add("batch-size", batch_size, "images per step; the last partial batch is used",
            in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("lr-drop", lr_drop, "factor of the step size later on, with a new optimiser; 1: none",
            positive());
  table
      .add("lr-drop-after", lr_drop_after,
           "epochs before it; 0: half of all and two more, as in the papers' code",
           at_least(std::int64_t{0}))
      .not_with("lr-drop", {"1"});
  table.add(
      "augmentation", augmentation,
      "differentiable augmentation, one operation per batch; auto: all six, no flip on digits",
      augmentation_text());
  table.add("augmentation-style", augmentation_style, "whose conventions augmentation follows",
            one_of({"mtt", "dsa", "fyi", "idc"}));
  if (name == "ftd") {
    table.add("rho", gsam.rho, "GSAM: length of the perturbation", non_negative());
    table.add("gsam-alpha", gsam.alpha,
              "GSAM: part of the gradient across the perturbed one that is taken off; FTD uses 0.3 "
              "or 1, DATM 0.3",
              non_negative());
    table.add("adaptive", gsam.adaptive, "GSAM: perturb relative to the size of every weight");
  }
  if (name == "ast") {
    table.add("loss-start", loss_start, "factor of the cross-entropy in the first epoch",
              in_range(0.0, 1.0));
    table.add("loss-epochs", loss_epochs, "epochs until it has grown to 1 in equal steps",
              at_least(std::int64_t{0}));
    table.add("gradient-penalty", gradient_penalty,
              "weight of the penalty on the gradient of the images; 0: none", non_negative());
  }
  table.add("keep-every", keep_every, "epochs between the snapshots that are kept",
            at_least(std::int64_t{1}));
  table.add("store", store, "of snapshots: f32, or bf16 in half the size, rounded",
            one_of({"f32", "bf16"}));
}

void ExpertRecipe::apply(const std::vector<std::string>& settings) {
  config::OptionTable table;
  describe(table);
  apply_settings(table, settings);
}

TrainOptions ExpertRecipe::train_options(bool mirror_changes_class) const {
  TrainOptions options;
  options.epochs = epochs;
  options.lr = lr;
  options.momentum = momentum;
  options.weight_decay = weight_decay;
  options.batch_size = batch_size;
  const std::int64_t after = lr_drop_after > 0 ? lr_drop_after : epochs / 2 + 2;
  if (lr_drop != 1) {
    options.drops = {{.after_epoch = after - 1, .factor = lr_drop, .reset_optimizer = true}};
  }
  options.augmentation = augment::Strategy::of(
      augmentation == "auto" ? augment::usual_operations(mirror_changes_class) : augmentation,
      augmentation_style);
  if (name == "ftd") options.gsam = gsam;
  if (name == "ast") {
    for (std::int64_t epoch = 0; epoch < loss_epochs; ++epoch) {
      options.first_loss_factors.push_back(loss_start +
                                           (1 - loss_start) * double(epoch) / double(loss_epochs));
    }
    options.penalty = gradient_penalty;
  }
  return options;
}

std::vector<std::int64_t> ExpertRecipe::snapshot_epochs() const {
  std::vector<std::int64_t> kept;
  for (std::int64_t epoch = 0; epoch < epochs; epoch += keep_every) kept.push_back(epoch);
  kept.push_back(epochs);
  return kept;
}

std::string recipe_name(const storage::ExpertInfo& info) {
  return info.recipe == file_method("ftd") ? "ftd" : info.recipe;
}

std::string guessing_experts(const storage::ExpertReader& experts) {
  const double guessing = std::log(double(experts.info().class_names.size()));
  const auto last = std::int64_t(experts.info().epochs.size()) - 1;
  std::vector<std::int64_t> found;
  std::vector<std::string> losses;
  for (std::int64_t expert = 0; expert < experts.experts(); ++expert) {
    const double loss = experts.log(expert, last).train_loss;
    if (!(loss >= guessing)) continue;
    found.push_back(expert);
    losses.push_back(fixed(loss, 3));
  }
  if (found.empty()) return "";
  return str(join(found), " (loss ", join(losses), "; guessing: ", fixed(guessing, 3), ")");
}

storage::ExpertInfo expert_info(const ExpertRecipe& recipe, const nn::Network& network,
                                const data::ImageDataset& dataset) {
  expect_no_batch_norm(network);
  storage::ExpertInfo info;
  info.recipe = file_method(recipe.name);
  static_cast<storage::TrainedOn&>(info) = storage::TrainedOn::of(dataset);
  info.network = network.name();
  for (const auto& parameter : network.parameters()) {
    info.layout.push_back({.name = parameter.name, .shape = parameter.shape});
  }
  info.epochs = recipe.snapshot_epochs();
  info.store =
      recipe.store == "bf16" ? storage::ExpertInfo::Store::Bf16 : storage::ExpertInfo::Store::F32;
  info.processor = processor_name();
  return info;
}

storage::ExpertSeeds expert_seeds(std::uint64_t run_seed, std::int64_t number) {
  const Rng expert = Rng(run_seed).child("expert", number);
  const std::uint64_t training = expert.child("training").bits();
  return {.init = expert.child("init").bits(), .data = training, .augment = training};
}

ExpertTraining::ExpertTraining(const nn::Network& network, const data::ImageDataset& dataset,
                               const ExpertRecipe& recipe, const storage::ExpertSeeds& seeds,
                               const StopFlag* stop)
    : network_(network),
      data_(dataset, data::Split::Train),
      training_(network, data_,
                stoppable(recipe.train_options(dataset.info().mirror_changes_class), stop),
                Rng(seeds.data)),
      state_(network.initialize(Rng(seeds.init), dataset.device())) {
  expect_no_batch_norm(network);
}

Tensor ExpertTraining::snapshot() const {
  return nn::flatten(state_.parameters).to(at::kCPU, at::kFloat);
}

EpochReport ExpertTraining::epoch(const std::function<void(const StepReport&)>& after_step) {
  return training_.epoch(state_, after_step);
}

void ExpertTraining::save_state(storage::StateWriter& out) const {
  training_.save_state(out);
  out.tensors("training/parameters", state_.parameters);
}

void ExpertTraining::load_state(const storage::StateReader& in) {
  training_.load_state(in, data_.device());
  state_.parameters = to_device(in.tensors("training/parameters"), data_.device());
}

storage::ExpertPart new_expert(const storage::ExpertInfo& info, std::uint64_t run_seed,
                               std::int64_t number) {
  storage::ExpertPart part;
  part.info = info;
  part.number = number;
  part.seeds = expert_seeds(run_seed, number);
  return part;
}

void train_expert(const nn::Network& network, const data::ImageDataset& dataset,
                  const ExpertRecipe& recipe, storage::ExpertPart& part, const ExpertHooks& hooks,
                  const StopFlag* stop) {
  if (part.complete) return;
  ExpertTraining training(network, dataset, recipe, part.seeds, stop);
  with_context(str("expert ", part.number), [&] { PartTraining(part, training, hooks).run(); });
}

}  // namespace retort::train
