#pragma once
// Teachers that know the bands of tests/train/separable.h, trained in tenths of a second.

#include <cstdint>
#include <string>

#include "lib/train/committee.h"
#include "tests/train/separable.h"

namespace retort::testing {

/// A trained one. @param accuracy what it says of itself, percent
train::Member trained_member(const data::ImageDataset& dataset, const std::string& network,
                             std::int64_t seed, double accuracy);
/// The same as it starts.
train::Member fresh_member(const data::ImageDataset& dataset, const std::string& network,
                           std::int64_t seed);

}  // namespace retort::testing
