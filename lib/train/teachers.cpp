#include "lib/train/teachers.h"

#include <utility>

#include "lib/config/differences.h"
#include "lib/core/clock.h"
#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/train/cropped_lessons.h"
#include "lib/train/image_lessons.h"
#include "lib/train/recipe_settings.h"

namespace retort::train {
namespace {

/// Saving shall not take more than this part of the time.
constexpr double kSavingShare = 0.05;

std::string crop_and_mirror(bool mirror_changes_class) {
  return mirror_changes_class ? "crop" : "crop_flip";
}

bool crops_and_enlarges(const TeacherRecipe& recipe) {
  return recipe.augmentation == "rrc" || recipe.augmentation == "rrc_flip";
}

/// Of the Strategy, where crops are shifts.
std::string operations_of(const TeacherRecipe& recipe, bool mirror_changes_class) {
  if (crops_and_enlarges(recipe)) return "none";
  return recipe.augmentation == "auto" ? crop_and_mirror(mirror_changes_class)
                                       : recipe.augmentation;
}

/// One teacher between its checkpoint and its hooks.
class TeacherTraining {
 public:
  TeacherTraining(const nn::Network& network, const data::ImageDataset& dataset,
                  const TeacherRecipe& recipe, const TrainOptions& options, std::uint64_t seed,
                  std::string identity, std::filesystem::path checkpoint)
      : network_(network),
        data_(dataset, data::Split::Train),
        lessons_(recipe.lessons(data_, network.num_classes(), options)),
        training_(network, *lessons_, options, Rng(seed).child("training")),
        state_(network.initialize(Rng(seed).child("init"), dataset.device())),
        identity_(std::move(identity)),
        checkpoint_(std::move(checkpoint)) {
    if (std::filesystem::exists(checkpoint_)) load();
    began_ = wall_seconds();
    saved_ = began_;
  }

  void run(const TeacherHooks& hooks) {
    while (!training_.finished()) {
      const double start = wall_seconds();
      EpochReport report;
      try {
        report = training_.epoch(state_, [&](const StepReport& step) {
          if (hooks.after_step) hooks.after_step(step, training_.steps_done());
        });
      } catch (const Interrupted&) {
        save();
        throw;
      }
      if (hooks.after_epoch) hooks.after_epoch(report, wall_seconds() - start);
      const bool due = wall_seconds() - saved_ >= seconds_to_save_ / kSavingShare;
      if (due || training_.finished()) save();
    }
  }

  const nn::NetworkState& state() const { return state_; }
  double seconds() const { return seconds_before_ + wall_seconds() - began_; }

 private:
  void save() {
    const double start = wall_seconds();
    storage::StateWriter out;
    out.text("teacher/identity", identity_);
    out.number("teacher/seconds", seconds());
    training_.save_state(out);
    out.tensors("training/parameters", state_.parameters);
    out.tensors("training/buffers", state_.buffers);
    out.save(checkpoint_);
    saved_ = wall_seconds();
    seconds_to_save_ = saved_ - start;
  }

  void load() {
    const storage::StateReader in(checkpoint_);
    const auto differing = config::differences(in.text("teacher/identity"), identity_);
    if (!differing.empty()) {
      throw StorageError(str("'", checkpoint_.string(),
                             "': the checkpoint of another teacher (theirs / asked for): ",
                             config::differences_text(differing)));
    }
    const at::Device device = data_.device();
    training_.load_state(in, device);
    state_.parameters = to_device(in.tensors("training/parameters"), device);
    state_.buffers = to_device(in.tensors("training/buffers"), device);
    seconds_before_ = in.number("teacher/seconds");
  }

  const nn::Network& network_;
  DatasetData data_;
  std::unique_ptr<const Lessons> lessons_;
  Training training_;
  nn::NetworkState state_;
  std::string identity_;
  std::filesystem::path checkpoint_;
  double seconds_before_ = 0;  ///< of earlier processes
  double began_ = 0;
  double saved_ = 0;
  double seconds_to_save_ = 0;
};

/// All that decides what a teacher becomes.
std::string identity_of(const nn::Network& network, const data::ImageDataset& dataset,
                        const TeacherRecipe& recipe, std::uint64_t seed) {
  TeacherRecipe described = recipe;
  config::OptionTable table;
  described.describe(table);
  return str("network = ", network.name(), "\nrecipe = ", recipe.name, "\nseed = ", seed,
             "\ndataset-sha256 = ", dataset.info().sha256, "\ndataset-note = ", dataset.info().note,
             "\n", config::config_text(table));
}

template <class Info>
std::vector<storage::NamedTensor> named(const std::vector<Info>& infos, const Tensors& values) {
  std::vector<storage::NamedTensor> result;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    result.push_back({infos[i].name, values[i].detach().to(at::kCPU, at::kFloat).contiguous()});
  }
  return result;
}

template <class Info>
Tensors tensors_of(const std::vector<storage::NamedTensor>& found, const std::vector<Info>& wanted,
                   const std::string& network, at::Device device) {
  const std::string source = str("a teacher for ", network, ": ");
  if (found.size() != wanted.size()) {
    throw DataError(str(source, "expected ", wanted.size(), " tensors, found ", found.size()));
  }
  Tensors result;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& [name, value] = found[i];
    if (name != wanted[i].name || value.sizes() != at::IntArrayRef(wanted[i].shape)) {
      throw DataError(str(source, "expected '", wanted[i].name, "' [", join(wanted[i].shape),
                          "], found '", name, "' [", join(value.sizes()), "]"));
    }
    result.push_back(value.to(device));
  }
  return result;
}

}  // namespace

const std::vector<std::string>& TeacherRecipe::names() {
  static const std::vector<std::string> all = {"sgd", "adam"};
  return all;
}

TeacherRecipe TeacherRecipe::defaults(const std::string& name) {
  TeacherRecipe recipe;
  recipe.name = name;
  if (name == "adam") {
    recipe.lr = 1e-3;
    recipe.weight_decay = 1e-4;
    recipe.batch_size = 512;
  } else if (name != "sgd") {
    throw ConfigError(unknown_name_message("recipe of teachers", name, names()));
  }
  return recipe;
}

void TeacherRecipe::describe(config::OptionTable& table) {
  using namespace config;
  table.add("epochs", epochs, "passes over the training images",
            in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("lr", lr, "step size at the start", positive());
  if (name == "sgd") table.add("momentum", momentum, "of SGD", in_range(0.0, 1.0));
  table.add("weight-decay", weight_decay, "on all parameters", non_negative());
  table.add("batch-size", batch_size, "images per step; the last partial batch is used",
            in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("schedule", schedule,
            "of the step size: falling to 0 along a cosine, constant, or to a tenth in steps",
            one_of({"cosine", "constant", "steps"}));
  table
      .add("cosine-epochs", cosine_epochs,
           "after the warm-up in which the cosine falls to 0; it rises and falls again in the "
           "others; "
           "0: all of them",
           at_least(std::int64_t{0}))
      .not_with("schedule", {"constant", "steps"});
  table
      .add("drop-every", drop_every,
           "epochs, warm-up included, after which the step size drops to a tenth",
           at_least(std::int64_t{1}))
      .not_with("schedule", {"cosine", "constant"});
  table.add("warmup-epochs", warmup_epochs, "in which the step size grows from a hundredth",
            at_least(std::int64_t{0}));
  table.add("augmentation", augmentation,
            "auto: shifted by up to an eighth of the side, and mirrored but for digits; crop, "
            "crop_flip or none; rrc, rrc_flip: random resized crops from 0.08 of the image on",
            one_of({"auto", "crop", "crop_flip", "rrc", "rrc_flip", "none"}));
  table.add("curvature", curvature,
            "penalty on the curvature of the loss in the images (GUARD): full by second "
            "derivatives, simplified by the loss alone",
            one_of({"none", "full", "simplified"}));
  table.add("curvature-step", curvature_step, "how far it looks, in preprocessed units", positive())
      .not_with("curvature", {"none"});
  table
      .add("curvature-weight", curvature_weight, "0: the code's, 100 (full) or 1e-4 (simplified)",
           non_negative())
      .not_with("curvature", {"none"});
}

void TeacherRecipe::apply(const std::vector<std::string>& settings) {
  config::OptionTable table;
  describe(table);
  apply_settings(table, settings);
}

TrainOptions TeacherRecipe::train_options(bool mirror_changes_class) const {
  TrainOptions options;
  options.epochs = epochs;
  options.lr = lr;
  options.method = name == "adam" ? TrainOptions::Method::Adam : TrainOptions::Method::Sgd;
  options.momentum = momentum;
  options.weight_decay = weight_decay;
  options.batch_size = batch_size;
  options.schedule =
      schedule == "cosine" ? TrainOptions::Schedule::Cosine : TrainOptions::Schedule::Constant;
  options.warmup_epochs = warmup_epochs;
  if (cosine_epochs > 0 && epochs > warmup_epochs) {
    options.smoothing = double(cosine_epochs) / double(epochs - warmup_epochs);
  }
  if (schedule == "steps") {
    for (std::int64_t e = drop_every; e < epochs; e += drop_every) {
      options.drops.push_back({.after_epoch = e - 1, .factor = 0.1});
    }
  }
  // FYI's convention applies the flip in front of one other operation, so both happen.
  options.augmentation = augment::Strategy::of(operations_of(*this, mirror_changes_class), "fyi");
  if (curvature != "none") {
    const bool full = curvature == "full";
    const double usual = full ? 100 : 1e-4;
    options.curvature =
        Curvature{.kind = full ? Curvature::Kind::Full : Curvature::Kind::Simplified,
                  .h = curvature_step,
                  .weight = curvature_weight > 0 ? curvature_weight : usual};
  }
  return options;
}

std::unique_ptr<const Lessons> TeacherRecipe::lessons(const TrainingData& data,
                                                      std::int64_t num_classes,
                                                      const TrainOptions& options) const {
  auto whole = std::make_unique<ImageLessons>(data, num_classes, options);
  if (!crops_and_enlarges(*this)) return whole;
  return std::make_unique<CroppedLessons>(std::move(whole),
                                          augment::ViewPolicy{.flip = augmentation == "rrc_flip"});
}

storage::Teacher as_teacher(const nn::Network& network, const nn::NetworkState& state) {
  storage::Teacher teacher;
  teacher.network = network.name();
  teacher.parameters = named(network.parameters(), state.parameters);
  teacher.buffers = named(network.buffers(), state.buffers);
  return teacher;
}

nn::NetworkState state_of(const storage::Teacher& teacher, const nn::Network& network,
                          at::Device device) {
  return {tensors_of(teacher.parameters, network.parameters(), network.name(), device),
          tensors_of(teacher.buffers, network.buffers(), network.name(), device)};
}

storage::Teacher train_teacher(const nn::Network& network, const data::ImageDataset& dataset,
                               const TeacherRecipe& recipe, std::uint64_t seed,
                               const std::filesystem::path& checkpoint, const TeacherHooks& hooks,
                               const StopFlag* stop) {
  TrainOptions options = recipe.train_options(dataset.info().mirror_changes_class);
  options.stop = stop;
  TeacherTraining training(network, dataset, recipe, options, seed,
                           identity_of(network, dataset, recipe, seed), checkpoint);
  training.run(hooks);
  storage::Teacher teacher = as_teacher(network, training.state());
  teacher.seed = seed;
  teacher.epochs = recipe.epochs;
  teacher.wall_seconds = training.seconds();
  teacher.processor = processor_name();
  return teacher;
}

}  // namespace retort::train
