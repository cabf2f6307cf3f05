#include "methods/matching/matching_options.h"

#include "lib/augment/augment.h"

namespace retort::methods::matching {

using config::in_range;
using config::one_of;

namespace {

config::Rule<std::string> strategy_text() {
  return {"none, auto, or of color, crop, cutout, flip, scale, rotate joined by _",
          [](const std::string& text) {
            if (text == "auto") return true;
            augment::Strategy::parse(text);  // its message names the unknown operation
            return true;
          }};
}

}  // namespace

void MatchingOptions::describe(config::OptionTable& table) {
  constexpr std::int64_t kMany = 1'000'000'000;
  table.add("iterations", iterations, "updates of the synthetic set",
            in_range(std::int64_t{0}, kMany));
  table.add("lr-images", lr_images, "step size on the synthetic images", config::positive())
      .aliases = {"lr-img"};
  table.add("image-optimizer", image_optimizer, "how a gradient is applied to the images",
            one_of({"sgd", "adam"}));
  table.add("image-momentum", image_momentum, "momentum of sgd, beta1 of adam",
            in_range(0.0, 0.999));
  table.add("batch-real", batch_real, "real images per class and iteration",
            in_range(std::int64_t{1}, 1'000'000));
  table.add("net", net, "network that is looked through", synth::network_name()).aliases = {
      "model"};
  table
      .add("augmentation", augmentation, "Siamese augmentation; auto: all six, no flip on digits",
           strategy_text())
      .aliases = {"dsa-strategy"};
  table.add("augmentation-style", augmentation_style, "whose conventions the augmentation follows",
            one_of({"dsa", "mtt", "fyi", "idc"}));
  table.add("fyi", fyi, "add the mirror image of every synthetic image (Son et al. 2024)");
  table.add("init", init, "what the synthetic images start from",
            one_of({"random", "first", "noise", "k-means", "k-center", "herding", "mosaic"}));
  table.add("init-set", init_set, "start from this set file instead; same size and decoder",
            {"a set file, or nothing", [](const std::string&) { return true; }});
  features.describe(table);
  table.add("factor", factor, "multi-formation: each stored image holds factor x factor small ones",
            in_range(std::int64_t{1}, 5));
  table.add("decode-type", decode_type, "multi-formation: one factor, or all from 1 up to it",
            one_of({"single", "multi"}));
  table.add("networks", networks,
            "fresh random ones, trained on real data while in use, or a pool trained before",
            one_of({"fresh", "trained", "pool"}));
  table.add("net-period", net_period, "trained: iterations before a network is replaced",
            in_range(std::int64_t{1}, kMany));
  table.add("net-warmup", net_warmup, "trained: steps on real data before a network is first used",
            in_range(std::int64_t{0}, kMany));
  table.add("net-steps", net_steps, "trained: steps on real data between two iterations",
            in_range(std::int64_t{0}, kMany));
  table.add("net-batch", net_batch, "trained, pool: real images per step",
            in_range(std::int64_t{1}, 1'000'000));
  table.add("net-lr", net_lr, "trained, pool: step size", config::positive());
  table.add("net-augmentation", net_augmentation, "trained, pool: augmentation of real images",
            strategy_text());
  table.add("pool-size", pool_size, "pool: number of networks", in_range(std::int64_t{1}, 10000));
  table.add("pool-steps", pool_steps, "pool: steps of the longest trained network",
            in_range(std::int64_t{0}, kMany));
}

}  // namespace retort::methods::matching
