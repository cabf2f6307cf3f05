#pragma once
// Sets of real images of the same size, made by the registered selection methods.

#include <cstdint>
#include <string>

#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"

namespace retort::commands {

/// One entry of --baselines: "random", or "random-packed": as many small images per stored one as
/// the set's decoder unpacks.
struct Baseline {
  std::string method;
  bool packed = false;
};

/// @throws ConfigError for an unknown method
Baseline parse_baseline(const std::string& text);

/// "random", "random packed 2x2"
std::string baseline_title(const Baseline& baseline, const data::SyntheticSet& set);

/// Stored images per class of `set`.
/// @throws ConfigError when classes differ in size: then no baseline has the same cost
std::int64_t images_per_class(const data::SyntheticSet& set);

/// @throws ConfigError for a packed baseline of a set that is not multi-formation, a method that
///         optimises, or too few images; Interrupted when stopped
data::SyntheticSet make_baseline(const Baseline& baseline, const data::SyntheticSet& set,
                                 const data::ImageDataset& dataset, std::uint64_t seed,
                                 const StopFlag& stop);

}  // namespace retort::commands
