#pragma once
// Experts of trajectory matching: networks trained on real images whose parameters are kept after
// every epoch.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/expert_file.h"
#include "lib/train/supervised.h"

namespace retort::train {

/// How experts are trained, by the defaults of a paper's code:
///   sgd  Cazenavette et al. 2022 (MTT): plain SGD
///   ftd  Du et al. 2023 (FTD): GSAM. Guo et al. 2024 (DATM): the same for 100 epochs
///   ast  Shen et al. 2023 (AST): momentum, weight decay, a loss that sets in gradually, and a
///        penalty on the gradient of the images
struct ExpertRecipe {
  std::string name = "sgd";
  std::int64_t epochs = 50;
  double lr = 0.01;
  double momentum = 0;
  double weight_decay = 0;
  std::int64_t batch_size = 256;
  double lr_drop = 1;              ///< factor of the step size after some epochs; 1: none
  std::int64_t lr_drop_after = 0;  ///< epochs; 0: the papers' number, E/2 + 2
  std::string augmentation = "auto";
  std::string augmentation_style = "mtt";
  Gsam gsam = {};                 ///< ftd
  double loss_start = 0.5;        ///< ast: factor of the cross-entropy in the first epoch
  std::int64_t loss_epochs = 10;  ///< ast: until it has grown to 1
  double gradient_penalty = 2;    ///< ast
  std::int64_t keep_every = 1;    ///< epochs between snapshots; the first and the last are kept
  std::string store = "f32";      ///< or bf16: of snapshots in files

  static const std::vector<std::string>& names();
  /// @throws ConfigError for an unknown name
  static ExpertRecipe defaults(const std::string& name);
  /// The options that this recipe has, its name not among them.
  void describe(config::OptionTable& table);
  /// @param settings "gsam-alpha=1", ... @throws ConfigError for what this recipe does not have
  void apply(const std::vector<std::string>& settings);
  /// @throws ConfigError for an unknown augmentation
  TrainOptions train_options(bool mirror_changes_class) const;
  /// Ascending, from 0 to the last one.
  std::vector<std::int64_t> snapshot_epochs() const;
};

/// The recipe that a file of experts is by.
std::string recipe_name(const storage::ExpertInfo& info);

/// Experts whose training loss over their last epoch is no lower than that of guessing, log K:
/// diverged, or hardly moved.  @return "2, 5 (loss 2.41, 2.3; guessing: 2.303)"; empty: none
std::string guessing_experts(const storage::ExpertReader& experts);

/// What the file of such experts says of all of them. `options` and `program_version` are left to
/// the caller.
/// @throws ConfigError for a network with BatchNorm, whose statistics no snapshot could hold
storage::ExpertInfo expert_info(const ExpertRecipe& recipe, const nn::Network& network,
                                const data::ImageDataset& dataset);

/// Of expert `number` of a run. Order and augmentation of its mini-batches are children of one
/// stream, so `data` and `augment` are the same.
storage::ExpertSeeds expert_seeds(std::uint64_t run_seed, std::int64_t number);

/// One expert on its way.
class ExpertTraining {
 public:
  /// A fresh one. `network` and `dataset` must outlive it; all of it happens on the dataset's
  /// device. The result does not depend on the number of threads.
  /// @throws ConfigError for a network with BatchNorm
  ExpertTraining(const nn::Network& network, const data::ImageDataset& dataset,
                 const ExpertRecipe& recipe, const storage::ExpertSeeds& seeds,
                 const StopFlag* stop = nullptr);
  ExpertTraining(const ExpertTraining&) = delete;
  ExpertTraining& operator=(const ExpertTraining&) = delete;

  std::int64_t epochs_done() const { return training_.epochs_done(); }
  bool finished() const { return training_.finished(); }
  /// Optimiser steps, those of an epoch under way included.
  std::int64_t steps_done() const { return training_.steps_done(); }
  const nn::NetworkState& state() const { return state_; }
  Tensor snapshot() const;  ///< [P] float32 on the CPU, a copy

  /// As Training::epoch: interrupted, it goes on with the step that comes next.
  EpochReport epoch(const std::function<void(const StepReport&)>& after_step = {});

  void save_state(storage::StateWriter& out) const;
  void load_state(const storage::StateReader& in);

 private:
  const nn::Network& network_;
  DatasetData data_;
  Training training_;
  nn::NetworkState state_;
};

/// How an expert does on images it is not trained on.
struct ExpertTest {
  double loss = 0;
  double accuracy = 0;  ///< percent
};

/// What whoever trains an expert wants to know and keep. All may be empty.
struct ExpertHooks {
  std::function<void(const StepReport&)> after_step;
  /// Asked after `epochs_done` epochs, 0 among them; nothing: not tested then.
  std::function<std::optional<ExpertTest>(std::int64_t epochs_done, const nn::NetworkState&)> test;
  std::function<void(const EpochReport&, const std::optional<ExpertTest>&, double seconds)>
      after_epoch;
  /// Keeps the part where a later process finds it.
  std::function<void(const storage::ExpertPart&)> save;
};

/// A part without a snapshot yet.
storage::ExpertPart new_expert(const storage::ExpertInfo& info, std::uint64_t run_seed,
                               std::int64_t number);

/// Trains the expert of `part` to its end, from its start or from where the part stands. Saves it
/// at the start, after epochs, when it is complete and when it is stopped, then with the steps of
/// the epoch under way. Epochs that are over sooner than twenty times what saving takes are not
/// all saved.
/// @throws Interrupted when `stop` was requested, after saving; NumericalError when the training
///         diverges; StorageError for a part that does not fit together
void train_expert(const nn::Network& network, const data::ImageDataset& dataset,
                  const ExpertRecipe& recipe, storage::ExpertPart& part, const ExpertHooks& hooks,
                  const StopFlag* stop = nullptr);

}  // namespace retort::train
