#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/data/image_dataset.h"
#include "methods/matching/start_options.h"

namespace retort::methods::trajectory_matching {

/// What every trajectory method lets the user choose; each sets its own defaults.
struct TrajectoryOptions : matching::StartOptions {
  std::int64_t iterations = 5000;
  std::string experts;
  std::int64_t experts_count = 0;  ///< of `experts`; 0: all
  /// Where no file is given. Few beside the 100 of the papers, but each takes minutes to hours.
  std::int64_t make_experts = 5;
  std::int64_t make_epochs = 0;  ///< 0: by the recipe
  std::vector<std::string> make_settings;
  std::string experts_dir;
  std::string net = "ConvNet";  ///< without a depth: as deep as the images ask

  std::int64_t syn_steps = 20;     ///< N
  std::int64_t batch_syn = 0;      ///< 0: all
  std::int64_t expert_epochs = 3;  ///< M
  std::int64_t min_start_epoch = 0;
  std::int64_t max_start_epoch = 25;         ///< exclusive
  std::int64_t current_max_start_epoch = 0;  ///< bound of iteration 0; 0: max_start_epoch
  std::int64_t expansion_end = 0;

  double lr_images = 1000;
  double lr_lr = 1e-5;
  double lr_teacher = 0.01;
  double image_momentum = 0.5;
  double lr_momentum = 0.5;
  bool clamp_lr = false;
  double image_ema = 0;
  double threshold = 0;  ///< 0: none

  std::string labels = "hard";
  std::string label_init = "right";
  double lr_labels = 2;
  double label_momentum = 0.9;

  double inner_momentum = 0;
  bool perturb_weights = false;
  bool balanced_loss = false;
  std::string intermediate = "none";

  std::string augmentation = "auto";
  std::string augmentation_style = "mtt";
  bool fyi = false;

  std::string gradient = "sweep";
  std::int64_t graph_memory = 1000;  ///< MB
  std::int64_t micro_batch = 0;
  bool tesla_halving = false;

  /// Of the experts that the method's paper follows: `retort experts --recipe`.
  std::string recipe = "sgd";
  std::int64_t recipe_epochs = 50;

  void describe(config::OptionTable& table);
  /// For how many epochs experts are made, where no file of them is given.
  void settle(std::int64_t ipc);
  /// The last epoch of experts that a student is compared with.
  std::int64_t last_followed() const { return max_start_epoch - 1 + expert_epochs; }
  std::int64_t usual_epochs() const;  ///< of the recipe, or as many as are followed
  /// Of the given file, or of those found or made.
  std::int64_t experts_followed() const { return experts.empty() ? make_experts : experts_count; }

 private:
  void describe_experts(config::OptionTable& table);    ///< which, and how they are made
  void describe_students(config::OptionTable& table);   ///< how many steps along which experts
  void describe_outer(config::OptionTable& table);      ///< how images, step size and labels move
  void describe_smoothing(config::OptionTable& table);  ///< what AST adds
  void describe_images(config::OptionTable& table);     ///< what they start from and consist of
  void describe_engine(config::OptionTable& table);     ///< how gradients are computed
};

/// The network of students and experts, a ConvNet with its depth.
std::string network_name(const TrajectoryOptions& options, const data::ImageDataset& dataset);

}  // namespace retort::methods::trajectory_matching
