#include "methods/matching/matching_options.h"

#include <array>
#include <cmath>

#include "lib/augment/augment.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::methods::matching {

using config::in_range;
using config::one_of;

namespace {

constexpr std::int64_t kMany = 1'000'000'000;

config::Rule<std::string> strategy_text() {
  return {"none, auto, or of color, crop, cutout, flip, scale, rotate joined by _",
          [](const std::string& text) {
            if (text == "auto") return true;
            augment::Strategy::parse(text);  // its message names the unknown operation
            return true;
          }};
}

}  // namespace

Loops published_loops(std::int64_t ipc) {
  // main.py of VICO-UoE/DatasetCondensation, get_loops.
  constexpr std::array<std::pair<std::int64_t, std::int64_t>, 5> kEpochs{
      {{10, 50}, {20, 25}, {30, 20}, {40, 15}, {50, 10}}};
  if (ipc <= 1) return {1, 1, true};
  if (ipc <= kEpochs.front().first) return {ipc, kEpochs.front().second, ipc == 10};
  if (ipc > kEpochs.back().first) return {kEpochs.back().first, kEpochs.back().second, false};
  std::size_t upper = 1;
  while (kEpochs[upper].first < ipc) ++upper;
  const auto [low, more] = kEpochs[upper - 1];
  const auto [high, fewer] = kEpochs[upper];
  const double share = double(ipc - low) / double(high - low);
  return {ipc, std::llround(double(more) + share * double(fewer - more)), ipc == high};
}

void MatchingOptions::settle(std::int64_t ipc) {
  constexpr std::int64_t kNetworks = 1000;
  constexpr std::int64_t kPeriod = 20;
  const bool synthetic = networks == "synthetic";
  const bool replaced = synthetic || networks == "trained";
  const Loops loops = published_loops(ipc);
  const bool by_ipc = synthetic && (net_period == 0 || net_epochs == 0);
  if (net_period == 0) net_period = synthetic ? loops.matching_steps : kPeriod;
  if (synthetic && net_epochs == 0) net_epochs = loops.epochs;
  if (iterations < 0) iterations = kNetworks * (replaced ? net_period : 1);
  if (by_ipc && !loops.published) {
    log::info(str("no loops are published for ", ipc, " images per class: taking net-period ",
                  net_period, " and net-epochs ", net_epochs));
  }
}

void MatchingOptions::describe(config::OptionTable& table) {
  const std::int64_t fewest = iterations_by_ipc ? -1 : 0;
  table.add(
      "iterations", iterations,
      iterations_by_ipc
          ? "updates of the synthetic set; -1: 1000 networks' worth, which is 1000 net-periods "
            "of trained and synthetic networks, 1000 updates with others"
          : "updates of the synthetic set",
      in_range(fewest, kMany));
  describe_steps(table);
  describe_halves(table);
  describe_start(table);
  table
      .add("max-decoded", max_decoded,
           "decoded images per class that an iteration looks at, chosen at random; 0: all",
           in_range(std::int64_t{0}, 1'000'000))
      .aliases = {"batch-syn-max"};
  describe_networks(table);
}

void MatchingOptions::describe_steps(config::OptionTable& table) {
  table.add("lr-images", lr_images, "step size on the synthetic images", config::positive())
      .aliases = {"lr-img"};
  table.add("lr-images-schedule", lr_images_schedule,
            "cosine: the step size falls to 0 over the iterations asked for, which a time budget "
            "may cut short",
            one_of({"constant", "cosine"}));
  table.add("lr-reference-side", lr_reference_side,
            "0: lr-images as it is; else times ipc / 10 and (height / this)^2 (Kim et al. 2022)",
            in_range(std::int64_t{0}, 10'000));
  table.add("image-optimizer", image_optimizer,
            "how a gradient is applied to the images; class-loop: sgd, a step per class in turn",
            one_of({"sgd", "adam", "class-loop"}));
  table
      .add("image-momentum", image_momentum, "momentum of sgd, beta1 of adam", in_range(0.0, 0.999))
      .aliases = {"mom-img"};
  table.add("image-ema", image_ema,
            "the set is a running mean of the images with this decay; 0: the last images "
            "(FTD, Du et al. 2023)",
            in_range(0.0, 0.9999));
  table.add("image-space", image_space,
            "what is optimised: preprocessed values, or pixels that lie in [0,1]",
            one_of({"preprocessed", "pixels"}));
  table.add("clamp-every", clamp_every,
            "pixels: iterations between clamps of the images to [0,1]; 0: never",
            in_range(std::int64_t{0}, kMany));
}

void MatchingOptions::describe_halves(config::OptionTable& table) {
  table.add("batch-real", batch_real, "real images per class and iteration",
            in_range(std::int64_t{1}, 1'000'000));
  table.add("real-batches", real_batches,
            "independent random ones, or a stream: shuffled passes over the class, the incomplete "
            "last batch left out",
            one_of({"independent", "stream"}));
  table.add("net", net, "network that is looked through", synth::network_name()).aliases = {
      "model"};
  table
      .add("augmentation", augmentation, "Siamese augmentation; auto: all six, no flip on digits",
           strategy_text())
      .aliases = {"dsa-strategy"};
  table.add("augmentation-style", augmentation_style,
            "whose conventions the augmentation follows; mtt: dsa with aligned corners, one draw "
            "per class here as well (the code of MTT draws per image)",
            one_of({"dsa", "mtt", "fyi", "idc"}));
  table.add("fyi", fyi, "add the mirror image of every synthetic image (Son et al. 2024)");
}

void MatchingOptions::describe_networks(config::OptionTable& table) {
  const std::vector<std::string> replaced = {"trained", "synthetic"};
  const std::vector<std::string> training = {"trained", "synthetic", "pool"};
  table.add("networks", networks,
            "fresh random ones, trained on real data while in use, trained on the synthetic set, "
            "or a pool trained before on real data",
            one_of({"fresh", "trained", "synthetic", "pool"}));
  table.add("networks-per-iteration", networks_per_iteration,
            "fresh, pool: networks that an iteration looks through; the loss is their mean",
            in_range(std::int64_t{1}, 1000));
  table
      .add("net-period", net_period,
           "trained, synthetic: iterations before a network is replaced; 0: the papers' number for "
           "the ipc (trained: 20)",
           in_range(std::int64_t{0}, kMany))
      .only_with("networks", replaced)
      .aliases = {"outer-loop", "outer-steps"};
  table
      .add("net-warmup", net_warmup, "trained: steps on real data before a network is first used",
           in_range(std::int64_t{0}, kMany))
      .only_with("networks", {"trained"});
  table
      .add("net-steps", net_steps, "trained: steps on real data between two iterations",
           in_range(std::int64_t{0}, kMany))
      .only_with("networks", {"trained"});
  table
      .add("net-epochs", net_epochs,
           "synthetic: epochs over the synthetic set between two iterations; 0: the papers' number "
           "for the ipc",
           in_range(std::int64_t{0}, kMany))
      .only_with("networks", {"synthetic"})
      .aliases = {"inner-loop", "inner-epochs"};
  table
      .add("net-batch", net_batch, "trained, synthetic, pool: images per step",
           in_range(std::int64_t{1}, 1'000'000))
      .only_with("networks", training)
      .aliases = {"batch-train"};
  table.add("net-lr", net_lr, "trained, synthetic, pool: step size", config::positive())
      .only_with("networks", training)
      .aliases = {"lr-net"};
  table
      .add("net-momentum", net_momentum, "trained, synthetic, pool: momentum", in_range(0.0, 0.999))
      .only_with("networks", training);
  table
      .add("net-weight-decay", net_weight_decay, "trained, synthetic, pool: weight decay",
           in_range(0.0, 1.0))
      .only_with("networks", training);
  table
      .add("net-augmentation", net_augmentation,
           "trained, synthetic, pool: augmentation of what they train on", strategy_text())
      .only_with("networks", training);
  table
      .add("net-cutmix", net_cutmix, "trained, pool: probability of CutMix per step",
           in_range(0.0, 1.0))
      .only_with("networks", {"trained", "pool"});
  table.add("pool-size", pool_size, "pool: number of networks", in_range(std::int64_t{1}, 10000))
      .only_with("networks", {"pool"});
  table
      .add("pool-steps", pool_steps, "pool: steps of the longest trained network",
           in_range(std::int64_t{0}, kMany))
      .only_with("networks", {"pool"});
}

}  // namespace retort::methods::matching
