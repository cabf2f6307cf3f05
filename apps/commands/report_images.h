#pragma once
// What a report shows of images.

#include <cstdint>
#include <vector>

#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/report/report_data.h"
#include "methods/run_folder.h"

namespace retort::commands {

/// Stored images, and those that networks see where they differ; beside the latter the nearest real
/// ones.
/// @param per_class at most so many of each class; 0: all  @param dataset may be null
/// @throws Interrupted when `stop` was requested
std::vector<report::Gallery> galleries(const data::SyntheticSet& set, std::int64_t per_class,
                                       const data::ImageDataset* dataset, const StopFlag& stop);

/// From the pictures that a run kept, and the set as the last one. Nothing in it if there are none
/// of this set.
report::Evolution evolution(const methods::RunFolder& run, const data::SyntheticSet& set);

/// The latest picture of a run that has no set yet.
std::optional<report::Image> last_picture(const methods::RunFolder& run);

/// Of stored images, preprocessing undone, not clipped.
report::Histogram pixel_histogram(const data::SyntheticSet& set);

}  // namespace retort::commands
