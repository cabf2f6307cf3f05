#pragma once

#include <cstdint>
#include <string>

#include "lib/config/options.h"
#include "lib/synth/real_selection.h"

namespace retort::methods::matching {

/// What every matching method lets the user choose. Each method sets its own defaults.
struct MatchingOptions {
  std::int64_t iterations = 20000;
  double lr_images = 1.0;
  std::string image_optimizer = "sgd";
  double image_momentum = 0.5;
  std::int64_t batch_real = 256;
  std::string net = "ConvNet-3";

  std::string augmentation = "auto";  ///< a DSA strategy, "none", or "auto": without flip on digits
  std::string augmentation_style = "dsa";
  bool fyi = false;

  std::string init = "random";
  std::string init_set;  ///< start from the stored images of this set file instead
  synth::FeatureOptions features;
  std::int64_t factor = 1;
  std::string decode_type = "single";

  std::string networks = "fresh";
  std::int64_t net_period = 20;
  std::int64_t net_warmup = 0;
  std::int64_t net_steps = 3;
  std::int64_t net_batch = 64;
  double net_lr = 0.01;
  std::string net_augmentation = "none";
  std::int64_t pool_size = 20;
  std::int64_t pool_steps = 200;

  void describe(config::OptionTable& table);
};

}  // namespace retort::methods::matching
