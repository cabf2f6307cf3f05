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

/// @throws ConfigError for an unknown method, and for one that optimises or needs a file, with the
///         list of what is possible
Baseline parse_baseline(const std::string& text);

/// "random", "random packed 2x2"; "random (10 per class)" where the set stores another number
std::string baseline_title(const Baseline& baseline, const data::SyntheticSet& set);

/// What the run of `set` was given, as its provenance says, else the images per class that it
/// stores: compensators count as images of the budget.
/// @throws ConfigError when classes differ in size: then no baseline has the same cost
std::int64_t images_per_class(const data::SyntheticSet& set);

/// @throws ConfigError for a packed baseline of a set that is not multi-formation, or too few
///         images; Interrupted when stopped
data::SyntheticSet make_baseline(const Baseline& baseline, const data::SyntheticSet& set,
                                 const data::ImageDataset& dataset, std::uint64_t seed,
                                 const StopFlag& stop);

}  // namespace retort::commands
