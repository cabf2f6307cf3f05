#pragma once
// Which teachers an image is recovered from, and how much each says: committee voting (Cui et al.
// 2025, CV-DD; Jiacheng8/CV-DD, recover/recover.py and relabel/relabel.py).

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/core/rng.h"
#include "lib/train/voting.h"

namespace retort::methods::decoupled {

/// Of the code where images are recovered, for priors in percent.
inline constexpr double kRecoverTemperature = 5;

using train::voting_weights;

/// Two teachers by their numbers, the smaller one first.
struct Pair {
  std::int64_t first = 0;
  std::int64_t second = 0;
  bool operator==(const Pair&) const = default;
};

/// All pairs of teachers, by their first and then their second: of five R18R50, R18SN, ...
std::vector<Pair> all_pairs(std::int64_t teachers);

/// Who recovers the images of each index 0 .. ipc-1, for all classes and iterations: with one image
/// per class `single`, else the two of the largest priors (of equals the earlier); with as many
/// images as there are pairs every pair once, in order; else a random pair for each.
/// @param single the code names a pair for one image per class by dataset, which need not be that
///        of the largest priors: MobileNetV2 and DenseNet-121 (CIFAR-10, Imagenette), ShuffleNetV2
///        and MobileNetV2 (CIFAR-100)
/// @throws ConfigError for fewer than two teachers, and for a pair that they do not have
std::vector<Pair> pairs_for(std::int64_t ipc, const std::vector<double>& priors, const Rng& rng,
                            const std::optional<Pair>& single = {});

}  // namespace retort::methods::decoupled
