#pragma once
// When a set has diverged although every number of the run is finite: behind a normalisation a
// network sees no difference, however far the pixels have gone, and the loss stays as it was.

#include <string>

#include "lib/data/preprocessing.h"
#include "lib/data/synthetic_set.h"

namespace retort::methods {

constexpr double kDivergenceFactor = 1e4;

/// The largest magnitude that images with pixels in [0,1] have once preprocessed; at least 1. With
/// ZCA a bound on it: the largest column sum of |W|, as pixels are within 1 of their mean.
double largest_pixel(const data::Preprocessing& preprocessing);

/// The magnitude, in preprocessed units, above which stored images count as diverged:
/// kDivergenceFactor times largest_pixel. Noise of unit variance stays within 10, and steps of a
/// useful size move a pixel by parts of its range: no run that still makes images comes near.
double divergence_limit(const data::Preprocessing& preprocessing);

/// What is wrong with a set that neither a checkpoint nor a result may hold: images, parameters,
/// labels or a learned step size that are not finite, or images beyond the limit. "": nothing.
/// @param limit see divergence_limit  @param iterations after which the set is so
std::string divergence(const data::SyntheticSet& set, double limit, std::int64_t iterations);

}  // namespace retort::methods
