#pragma once

#include <cstdint>
#include <string>

#include "lib/config/options.h"
#include "methods/matching/start_options.h"

namespace retort::methods::matching {

/// Matching steps per network and epochs of its training between them, by ipc.
struct Loops {
  std::int64_t matching_steps = 1;
  std::int64_t epochs = 1;
  bool published = true;  ///< the code of Zhao, Mopuri and Bilen (2021) has this ipc in its table
};
/// Their table, which has 1, 10, 20, 30, 40 and 50. Between its entries as many steps as images, as
/// in all of them, and epochs on the straight line between two entries, but below 10 images the
/// epochs of 10; above 50 images the loops of 50, one of the two that its authors advise.
Loops published_loops(std::int64_t ipc);

/// What every matching method lets the user choose. Each method sets its own defaults.
///
/// Some defaults follow from the ipc, as Zhao, Mopuri and Bilen (2021) set theirs: they are 0, or
/// -1 for iterations, until `settle` has filled them in.
struct MatchingOptions : StartOptions {
  std::int64_t iterations = 20000;
  bool iterations_by_ipc = false;  ///< iterations may be -1: 1000 networks' worth
  double lr_images = 1.0;
  std::int64_t lr_reference_side = 0;
  std::string image_optimizer = "sgd";
  double image_momentum = 0.5;
  double image_ema = 0;
  std::string lr_images_schedule = "constant";
  std::int64_t clamp_every = 0;
  std::string image_space = "preprocessed";
  std::int64_t batch_real = 256;
  std::string real_batches = "independent";
  std::string net = "ConvNet-3";

  std::string augmentation = "auto";  ///< a DSA strategy, "none", or "auto": without flip on digits
  std::string augmentation_style = "dsa";
  bool fyi = false;

  std::int64_t max_decoded = 0;

  std::string networks = "fresh";
  std::int64_t networks_per_iteration = 1;
  std::int64_t net_period = 20;
  std::int64_t net_warmup = 0;
  std::int64_t net_steps = 3;
  std::int64_t net_epochs = 0;
  std::int64_t net_batch = 64;
  double net_lr = 0.01;
  double net_momentum = 0.9;
  double net_weight_decay = 5e-4;
  std::string net_augmentation = "none";
  double net_cutmix = 0;
  std::int64_t pool_size = 20;
  std::int64_t pool_steps = 200;
  std::int64_t cached_draws = 0;  ///< offered by methods whose objective can keep its real half
  std::int64_t cache_mb = 1024;

  void describe(config::OptionTable& table);
  /// Fills in what follows from the ipc; a second call changes nothing.
  void settle(std::int64_t ipc);

 private:
  void describe_steps(config::OptionTable& table);   ///< how the images move
  void describe_halves(config::OptionTable& table);  ///< what is compared
  void describe_networks(config::OptionTable& table);
};

}  // namespace retort::methods::matching
