#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"
#include "lib/train/supervised.h"

namespace retort::eval {

/// How a set is judged: a named, plain-text recipe. Every accuracy names its protocol.
struct Protocol {
  std::string name;
  std::string source;                     ///< paper and what differs, one line
  std::int64_t epochs = 1000;             ///< nominal; the schedule says how many are run
  std::string schedule = "dc";            ///< "dc": E+1 epochs, one x0.1 drop; "steps": exactly E
  std::vector<std::int64_t> drop_epochs;  ///< "steps": the step size drops after these (from 1)
  double drop_factor = 0.1;
  double drop_momentum = -1;           ///< of SGD after the drop; negative: as before
  std::string step_size = "protocol";  ///< "learned": the set's own where it has one, else lr
  double lr = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  std::int64_t batch_size = 256;
  std::string augmentation = "color_crop_cutout_flip_scale_rotate";  ///< or "none"
  std::string augmentation_digits;         ///< for digits, where mirroring harms; empty: the same
  std::string augmentation_style = "dsa";  ///< dsa | mtt | fyi | idc
  double cutmix_probability = 0;
  std::int64_t networks = 5;      ///< default number of fresh networks
  std::string net = "ConvNet-3";  ///< default architecture; see network_for
  std::int64_t test_every = 0;    ///< epochs between extra tests for `best`; 0: the end only

  void describe(config::OptionTable& table);
  /// `net` for images of this shape. A ConvNet without a depth, as in "ConvNet-BN", takes the
  /// papers' (nn::default_convnet_depth): ConvNet-3-BN at 32x32, ConvNet-4-BN at 64x64.
  /// @throws ConfigError for a ConvNet's name that cannot be read
  std::string network_for(nn::ImageShape shape) const;
  /// @param mirror_changes_class of the dataset: digits get their own augmentation
  /// @throws ConfigError for an unknown augmentation or drop epochs outside the training
  train::TrainOptions train_options(bool mirror_changes_class) const;
  /// The protocol with the step size that networks on `set` are trained with.
  Protocol for_set(const data::SyntheticSet& set) const;
  /// Optimiser steps for `images` decoded images.
  std::int64_t sgd_steps(std::int64_t images) const;
};

/// @param text lines of `option = value`  @param source the name used in messages
/// @throws ConfigError with source and line
Protocol parse_protocol(const std::string& name, const std::string& text,
                        const std::string& source);

}  // namespace retort::eval
