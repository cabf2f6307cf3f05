#pragma once
// When a set has diverged although every number of the run is finite: behind a normalisation a
// network sees no difference, however far the pixels have gone, and the loss stays as it was.

#include "lib/data/preprocessing.h"

namespace retort::methods {

constexpr double kDivergenceFactor = 1e4;

/// The largest magnitude that images with pixels in [0,1] have once preprocessed; at least 1. With
/// ZCA a bound on it: the largest column sum of |W|, as pixels are within 1 of their mean.
double largest_pixel(const data::Preprocessing& preprocessing);

/// The magnitude, in preprocessed units, above which stored images count as diverged:
/// kDivergenceFactor times largest_pixel. Noise of unit variance stays within 10, and steps of a
/// useful size move a pixel by parts of its range: no run that still makes images comes near.
double divergence_limit(const data::Preprocessing& preprocessing);

}  // namespace retort::methods
