#pragma once
// Teachers of the decoupled methods: networks trained on real images to the end, with the
// statistics of their BatchNorm.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/teacher_file.h"
#include "lib/train/lessons.h"
#include "lib/train/supervised.h"

namespace retort::train {

/// How teachers are trained, by the defaults of a paper's code for 32x32 images:
///   sgd   Yin et al. 2023 (SRe2L): SGD 0.1 with momentum and a cosine, batches of 128
///   adam  Cui et al. 2025 (CV-DD): Adam 1e-3 with weight decay in the gradient, batches of 512
/// Both shift images by up to an eighth of their side and mirror them, each on its own. What comes
/// in at the border is the mean colour here, black in the code, which pads before it normalises.
/// Other recipes are settings: CV-DD's for Imagenette lr=0.01, weight_decay=1e-4, batch_size=64,
/// epochs=300, cosine_epochs=100, rrc_flip; RDED's observers lr=0.1, weight_decay=1e-4, epochs=90,
/// schedule "steps", as torchvision's. Augmentation rrc_flip is the code's for
/// larger images: random resized crops (of 0.08 to 1 of the
/// image, ratios 3/4 to 4/3), mirrored; rrc leaves the mirror out.
struct TeacherRecipe {
  std::string name = "sgd";
  std::int64_t epochs = 200;
  double lr = 0.1;
  double momentum = 0.9;  ///< sgd
  double weight_decay = 5e-4;
  std::int64_t batch_size = 128;
  std::string schedule = "cosine";  ///< or "constant", "steps"
  std::int64_t cosine_epochs = 0;   ///< cosine: in which it falls to 0; 0: all after the warm-up
  std::int64_t drop_every = 30;     ///< steps: epochs after which the step size drops to a tenth
  std::int64_t warmup_epochs = 0;
  std::string augmentation = "auto";
  std::string curvature = "none";  ///< GUARD: "full" or "simplified"
  double curvature_step = 3;
  double curvature_weight = 0;  ///< 0: the code's, 100 (full) or 1e-4 (simplified)

  static const std::vector<std::string>& names();
  /// @throws ConfigError for an unknown name
  static TeacherRecipe defaults(const std::string& name);
  /// The options that this recipe has, its name not among them.
  void describe(config::OptionTable& table);
  /// Sets options by "name=value". @throws ConfigError as an option table does
  void apply(const std::vector<std::string>& settings);
  TrainOptions train_options(bool mirror_changes_class) const;
  /// What teachers are shown. `data` must outlive it.
  /// @param options train_options, changed or not
  std::unique_ptr<const Lessons> lessons(const TrainingData& data, std::int64_t num_classes,
                                         const TrainOptions& options) const;
};

/// What whoever trains a teacher wants to know. All may be empty.
struct TeacherHooks {
  /// @param done steps of the whole training
  std::function<void(const StepReport&, std::int64_t done)> after_step;
  std::function<void(const EpochReport&, double seconds)> after_epoch;
};

/// Trains the teacher of `seed` to its end, from its start or from where `checkpoint` stands, which
/// is written after epochs and when it is stopped, then with the steps of the epoch under way: the
/// bits at the end are those of a training that was never stopped. Epochs that are over sooner than
/// twenty times what saving takes are not all saved, the last one is. The checkpoint stays for
/// whoever keeps the result to remove. Accuracy, `options` and the program's version are left to
/// the caller.
/// @throws Interrupted when `stop` was requested, after saving; NumericalError when the training
///         diverges; StorageError for a checkpoint of another network, recipe, seed or dataset
storage::Teacher train_teacher(const nn::Network& network, const data::ImageDataset& dataset,
                               const TeacherRecipe& recipe, std::uint64_t seed,
                               const std::filesystem::path& checkpoint, const TeacherHooks& hooks,
                               const StopFlag* stop = nullptr);

/// The network's parameters and buffers under their names.
storage::Teacher as_teacher(const nn::Network& network, const nn::NetworkState& state);
/// The state of a teacher for its network, on `device`.
/// @throws DataError naming the tensor whose name or shape is another
nn::NetworkState state_of(const storage::Teacher& teacher, const nn::Network& network,
                          at::Device device = at::kCPU);

}  // namespace retort::train
