#pragma once
// How much a network's accuracy owes to images being left alone: L-infinity attacks in pixel units.

#include <cstdint>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"

namespace retort::eval {

struct Attack {
  enum class Kind {
    Fgsm,  ///< one step of the radius along the sign of the gradient (Goodfellow et al. 2015)
    Pgd    ///< many smaller ones from random starts, kept within the radius (Madry et al. 2018)
  } kind = Kind::Pgd;
  double radius = 8.0 / 255;  ///< of every pixel, which lie in 0 .. 1
  std::int64_t steps = 10;    ///< Pgd
  std::int64_t restarts = 2;  ///< Pgd: random starts, uniform within the radius
  double step_size = 0;       ///< Pgd; 0: 2.5 radius / steps

  /// "fgsm" or "pgd". @throws ConfigError for another name
  static Kind parse(const std::string& name);
};

/// Images that raise the cross-entropy, within the radius of `pixels` and within 0 .. 1. BatchNorm
/// uses its running statistics.
/// @param pixels float [N,C,H,W] in 0 .. 1 @param labels int64 [N]
/// @param rng draws the start of Pgd; Fgsm starts at the image
Tensor attacked(const nn::Network& network, const nn::NetworkState& state,
                const data::Preprocessing& preprocessing, const Tensor& pixels,
                const Tensor& labels, const Attack& attack, Rng rng);

/// Percent of the images of a split that are classified rightly as they are and after every
/// restart. Chunks over all threads; the result does not depend on their number.
/// @throws ConfigError for a radius, a step size, steps or restarts that cannot be; Interrupted
double robust_accuracy(const nn::Network& network, const nn::NetworkState& state,
                       const data::ImageDataset& dataset, data::Split split, const Attack& attack,
                       const Rng& rng, const StopFlag* stop = nullptr);

}  // namespace retort::eval
