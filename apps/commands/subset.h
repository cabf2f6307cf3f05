#pragma once

#include <cstdint>

#include "lib/data/synthetic_set.h"

namespace retort::commands {

/// Training images per class that a set was condensed from, when --images-per-class left a subset
/// of its dataset; 0: all there are, or nothing is known.
/// @throws ConfigError for a configuration that cannot be read
std::int64_t subset_per_class(const data::Provenance& provenance);

}  // namespace retort::commands
