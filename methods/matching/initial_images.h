#pragma once

#include <cstdint>

#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/synth/parametrization.h"
#include "methods/matching/start_options.h"

namespace retort::methods::matching {

/// Stored images at the start: [K*ipc,C,H,W] float32, class-major.
/// @throws ConfigError when a class has too few images; Interrupted when `stop` was requested
Tensor initial_images(const data::ImageDataset& dataset, std::int64_t ipc,
                      const StartOptions& options, const synth::ImageDecoder& decoder,
                      const Rng& rng, const StopFlag* stop = nullptr);

}  // namespace retort::methods::matching
