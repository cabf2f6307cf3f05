#include "methods/trajectory_matching/trajectory_options.h"

#include <algorithm>

#include "lib/augment/augment.h"
#include "lib/core/error.h"
#include "lib/nn/naming.h"
#include "lib/nn/network.h"
#include "lib/train/recipe_settings.h"

namespace retort::methods::trajectory_matching {

using config::in_range;
using config::one_of;

namespace {

constexpr std::int64_t kMany = 1'000'000'000;
constexpr std::int64_t kManyEpochs = 1'000'000;
constexpr std::int64_t kManyExperts = 100'000;

config::Rule<std::string> strategy_text() {
  return {"none, auto, or of color, crop, cutout, flip, scale, rotate joined by _",
          [](const std::string& text) {
            if (text == "auto") return true;
            augment::Strategy::parse(text);  // its message names the unknown operation
            return true;
          }};
}

}  // namespace

void TrajectoryOptions::describe(config::OptionTable& table) {
  table.add("iterations", iterations, "updates of the synthetic set",
            in_range(std::int64_t{0}, kMany));
  describe_experts(table);
  table
      .add("net", net, "network of the experts and of the students that follow them",
           synth::network_name())
      .aliases = {"model"};
  describe_students(table);
  describe_outer(table);
  describe_smoothing(table);
  describe_images(table);
  describe_engine(table);
}

void TrajectoryOptions::describe_experts(config::OptionTable& table) {
  const auto anything = [](const std::string&) { return true; };
  table.add("experts", experts,
            "experts to follow, made by `retort experts`; none: those that earlier runs left in "
            "experts-dir, or new ones",
            {"a file of experts, or nothing", anything});
  table
      .add("experts-count", experts_count, "experts of that file to follow, the first; 0: all",
           in_range(std::int64_t{0}, kManyExperts))
      .not_with("experts", {""});
  table
      .add("make-experts", make_experts,
           "experts to follow where no file is given, found or made (the papers have 100)",
           in_range(std::int64_t{1}, kManyExperts))
      .only_with("experts", {""});
  table
      .add("make-epochs", make_epochs,
           "epochs of experts that are made; 0: those of the paper's recipe",
           in_range(std::int64_t{0}, std::int64_t{100000}))
      .only_with("experts", {""});
  table
      .add("make-settings", make_settings,
           "options of `retort experts` for experts that are made, where they differ from the "
           "defaults of the method's recipe",
           train::recipe_setting())
      .only_with("experts", {""});
  table
      .add("experts-dir", experts_dir,
           "where experts are kept for all runs; nothing: experts/ beside the run folder",
           {"a folder, or nothing", anything})
      .only_with("experts", {""});
}

void TrajectoryOptions::settle(std::int64_t /*ipc*/) {
  if (experts.empty() && make_epochs == 0) make_epochs = usual_epochs();
}

std::int64_t TrajectoryOptions::usual_epochs() const {
  return std::max(recipe_epochs, last_followed());
}

void TrajectoryOptions::describe_students(config::OptionTable& table) {
  table.add("syn-steps", syn_steps, "steps of a student on the synthetic set (N)",
            in_range(std::int64_t{1}, kManyEpochs));
  table.add("batch-syn", batch_syn, "images of each such step; 0: all",
            in_range(std::int64_t{0}, kMany));
  table.add("expert-epochs", expert_epochs,
            "epochs of the expert that the student should cover (M)",
            in_range(std::int64_t{1}, kManyEpochs));
  table.add("min-start-epoch", min_start_epoch, "first epoch to start from",
            in_range(std::int64_t{0}, kManyEpochs));
  table.add("max-start-epoch", max_start_epoch, "epochs to start from lie below it",
            in_range(std::int64_t{1}, kManyEpochs));
  table.add("current-max-start-epoch", current_max_start_epoch,
            "the same in the first iteration, to grow from; 0: no growth (DATM)",
            in_range(std::int64_t{0}, kManyEpochs));
  table
      .add("expansion-end", expansion_end, "iteration in which max-start-epoch is reached",
           in_range(std::int64_t{0}, kMany))
      .not_with("current-max-start-epoch", {"0"})
      .aliases = {"expansion-end-epoch"};
}

void TrajectoryOptions::describe_outer(config::OptionTable& table) {
  table.add("lr-images", lr_images, "step size on the synthetic images", config::positive())
      .aliases = {"lr-img"};
  table.add("lr-lr", lr_lr, "step size on the student's step size; 0: it stays",
            config::non_negative());
  table.add("lr-teacher", lr_teacher, "the student's step size at the start", config::positive());
  table.add("image-momentum", image_momentum, "momentum of the images", in_range(0.0, 0.999))
      .aliases = {"mom-img"};
  table.add("lr-momentum", lr_momentum, "momentum of the student's step size",
            in_range(0.0, 0.999));
  table.add("clamp-lr", clamp_lr,
            "keep the student's step size between 1e-6 and 1 instead of stopping when it is not "
            "positive");
  table
      .add("image-ema", image_ema,
           "the set is a running mean of the images with this decay; 0: the last images (FTD)",
           in_range(0.0, 0.9999))
      .aliases = {"ema-decay"};
  table.add("threshold", threshold,
            "iterations whose loss is above it are skipped; 0: none is for that reason (DATM)",
            config::non_negative());
  table.add("labels", labels,
            "of the images: their classes; learned logits (DATM); or what the network of the "
            "target epoch says of them, new in every iteration (TESLA)",
            one_of({"hard", "learned", "target"}));
  table
      .add("label-init", label_init,
           "what learned labels start from: the mean logits of the experts that are right, or the "
           "logits of the first expert",
           one_of({"right", "first"}))
      .only_with("labels", {"learned"});
  table.add("lr-labels", lr_labels, "step size on learned labels", config::non_negative())
      .only_with("labels", {"learned"})
      .aliases = {"lr-y"};
  table.add("label-momentum", label_momentum, "momentum of learned labels", in_range(0.0, 0.999))
      .only_with("labels", {"learned"});
}

void TrajectoryOptions::describe_smoothing(config::OptionTable& table) {
  table
      .add("inner-momentum", inner_momentum, "momentum of the student's steps (AST)",
           in_range(0.0, 0.999))
      .aliases = {"mom"};
  table.add("perturb-weights", perturb_weights,
            "start students from slightly perturbed convolutions (AST)");
  table.add("balanced-loss", balanced_loss,
            "scale the student's loss by the epoch it starts from (AST)");
  table.add("intermediate", intermediate,
            "match the epochs between start and target too: no, with weight 1, or with weights "
            "that grow evenly (AST)",
            one_of({"none", "equal", "growing"}));
}

void TrajectoryOptions::describe_images(config::OptionTable& table) {
  table
      .add("augmentation", augmentation,
           "of every step, parameters per image; auto: all six, no flip on digits", strategy_text())
      .aliases = {"dsa-strategy"};
  table.add("augmentation-style", augmentation_style, "whose conventions the augmentation follows",
            one_of({"dsa", "mtt", "fyi", "idc"}));
  table.add("fyi", fyi, "add the mirror image of every image of a step (Son et al. 2024)");
  describe_start(table, {.names = {"right", "representative"},
                         .explained = "; right: real images that experts classify correctly "
                                      "(DATM), representative: k-means of an expert's logits "
                                      "(AST)"});
}

void TrajectoryOptions::describe_engine(config::OptionTable& table) {
  table.add("gradient", gradient,
            "how the gradient is found. Exact: sweep computes every step twice and needs memory "
            "for one; hybrid keeps last steps as they fit; unrolled is LibTorch's autograd. tesla "
            "takes the parameters of earlier steps as constant",
            one_of({"sweep", "hybrid", "unrolled", "tesla"}));
  table
      .add("graph-memory", graph_memory, "hybrid: for the steps that are kept, MB",
           in_range(std::int64_t{0}, kMany))
      .only_with("gradient", {"hybrid"});
  table
      .add("micro-batch", micro_batch,
           "images of one pass through the network; 0: the whole batch. Fewer need less memory and "
           "more time, and change rounding only",
           in_range(std::int64_t{0}, kMany))
      .not_with("gradient", {"unrolled"});
  table
      .add("tesla-halving", tesla_halving,
           "take half the gradient of the images, as TESLA's code does")
      .only_with("gradient", {"tesla"});
}

std::string network_name(const TrajectoryOptions& options, const data::ImageDataset& dataset) {
  return nn::with_depth(options.net, nn::default_convnet_depth(dataset.shape()));
}

}  // namespace retort::methods::trajectory_matching
