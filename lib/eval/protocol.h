#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/augment/pixel_recipes.h"
#include "lib/config/options.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"
#include "lib/train/student_views.h"
#include "lib/train/supervised.h"

namespace retort::eval {

/// How a set is judged: a named, plain-text recipe. Every accuracy names its protocol.
struct Protocol {
  std::string name;
  std::string source;                     ///< paper and what differs, one line
  std::int64_t epochs = 1000;             ///< nominal; the schedule says how many are run
  std::string schedule = "dc";            ///< "dc": E+1 epochs, one x0.1 drop; else exactly E
  std::vector<std::int64_t> drop_epochs;  ///< "steps": the step size drops after these (from 1)
  double drop_factor = 0.1;
  double drop_momentum = -1;           ///< of SGD after the drop; negative: as before
  double smoothing = 1;                ///< "cosine"
  std::int64_t warmup_epochs = 0;      ///< "cosine", "linear"
  std::string step_size = "protocol";  ///< "learned": the set's own where it has one, else lr
  double lr = 0.01;
  std::string optimizer = "sgd";  ///< sgd | adam | adamw
  double momentum = 0.9;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 5e-4;
  std::string decays = "all";  ///< all | weights
  std::int64_t batch_size = 256;
  std::vector<std::string> batch_size_by_ipc;  ///< "10:50": 50 from 10 images per class on
  std::int64_t batch_norm_group = 0;           ///< of a full batch, see train::norm_group
  /// What students learn: "set": the labels of the set, but for those that teachers gave to it when
  /// it was finished; "views": those that teachers gave to views of its images, replayed;
  /// "teachers": those that they give to views drawn anew; "static": those that they gave to its
  /// images as they are.
  std::string labels = "set";
  /// How the BatchNorm of teachers who are asked normalises: "eval", on the statistics of training;
  /// "batch", on those of a mini-batch, in the groups that the student sees.
  std::string teacher_batch_norm = "eval";
  std::string loss = "cross-entropy";       ///< cross-entropy | kl | mse-ce, see train::StudentLoss
  double temperature = 1;                   ///< kl
  std::string temperature_factor = "none";  ///< kl: none | square
  double hard_weight = 0;                   ///< mse-ce
  std::string hard_classes = "own";         ///< mse-ce, of mixed images: own | mixed
  std::string augmentation = "color_crop_cutout_flip_scale_rotate";  ///< or "none"
  std::string augmentation_digits;          ///< for digits, where mirroring harms; empty: the same
  std::string augmentation_style = "dsa";   ///< dsa | mtt | fyi | idc
  std::string pixel_augmentation = "none";  ///< augment::PixelRecipe, in place of augmentation
  std::int64_t plain_epochs = 0;            ///< nominal, where --augment leaves all out; 0: epochs
  double cutmix_probability = 0;            ///< labels of the set
  // Labels of teachers but for recorded views, which know all of it. In this order, before these
  // the augmentation:
  std::int64_t patch_shuffle = 1;  ///< factor of augment::shuffle_patches
  double crop_area = 1;            ///< smallest, of an image; 1: no crop
  bool flip = false;
  std::string mix = "none";       ///< none | cutmix | mixup
  std::int64_t networks = 5;      ///< default number of fresh networks
  std::string net = "ConvNet-3";  ///< default architecture; see network_for
  std::int64_t test_every = 0;    ///< epochs between extra tests for `best`; 0: the end only
  // DD-Ranking (experiments/dd_ranking): a score of several trainings in the place of accuracies.
  std::string score = "none";     ///< none | lrs | ars
  double score_weight = 0.5;      ///< of the first of the two differences in a score
  std::vector<double> lr_search;  ///< step sizes to choose from by accuracy on the test images
  bool augment_hard = false;      ///< lrs, labels of teachers: also where students learn classes
  std::int64_t hard_test_every = 10;   ///< lrs: test-every where students learn classes
  std::int64_t real_epochs = 200;      ///< lrs: of the network on all real images
  std::int64_t real_batch_size = 256;  ///< lrs
  double real_lr = 0.01;               ///< lrs

  void describe(config::OptionTable& table);
  /// Whether students learn what teachers say.
  bool taught() const { return labels != "set"; }
  /// Whether it ends in a score.
  bool ranks() const { return score != "none"; }
  /// `net` for images of this shape. A ConvNet without a depth, as in "ConvNet-BN", takes the
  /// papers' (nn::default_convnet_depth): ConvNet-3-BN at 32x32, ConvNet-4-BN at 64x64.
  /// @throws ConfigError for a ConvNet's name that cannot be read
  std::string network_for(nn::ImageShape shape) const;
  /// @param mirror_changes_class of the dataset: digits get their own augmentation
  /// @throws ConfigError for an unknown augmentation, drop epochs outside the training, or options
  ///         that do not go together
  train::TrainOptions train_options(bool mirror_changes_class) const;
  /// Of views that are drawn. Where a mirror image is of another class none is mirrored.
  augment::PixelRecipe pixel_recipe(bool mirror_changes_class) const;
  train::ViewRecipe view_recipe(bool mirror_changes_class) const;
  /// The protocol with the batch size, and the step size, that networks on `set` are trained with.
  Protocol for_set(const data::SyntheticSet& set) const;
  /// Option -> value of all that changes what is done.
  std::map<std::string, std::string> options_in_use() const;

 private:
  void describe_schedule(config::OptionTable& table);
  void describe_steps(config::OptionTable& table);
  void describe_labels(config::OptionTable& table);
  void describe_views(config::OptionTable& table);
  void describe_score(config::OptionTable& table);
  augment::Strategy strategy(bool mirror_changes_class) const;
  train::StudentLoss student_loss() const;
  void set_optimizer(train::TrainOptions& options) const;
  void set_schedule(train::TrainOptions& options) const;
  void check_together() const;
  /// Images per class -> batch size from there on.
  std::map<std::int64_t, std::int64_t> batch_sizes() const;
};

/// @param text lines of `option = value`  @param source the name used in messages
/// @throws ConfigError with source and line
Protocol parse_protocol(const std::string& name, const std::string& text,
                        const std::string& source);

/// What networks may be trained under in the place of the protocol's own augmentation: "none",
/// "dsa" (all six operations) and the names of augment::PixelRecipe.
std::vector<std::string> augmentation_names();
/// `protocol` with images as they are, mixed with none: everything that changes them left out.
Protocol without_augmentation(const Protocol& protocol);
/// `protocol` with this augmentation, under its old name; without any for `plain_epochs`.
/// @throws ConfigError for another name, and for a protocol under which images are not augmented
///         so: labels of teachers belong to their views
Protocol with_augmentation(const Protocol& protocol, const std::string& name);

/// `protocol` with other values: its name then says so, "fkd-300 (epochs = 200)".
/// @param changes "option=value"; one without '=' goes on with the list before it
/// @throws ConfigError for options that it has not, and for values that cannot be
Protocol changed(const Protocol& protocol, const std::vector<std::string>& changes);

}  // namespace retort::eval
