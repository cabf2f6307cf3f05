#pragma once
// What every BatchNorm layer of a teacher reads from the images of each class (LPLD: Xiao and He,
// NeurIPS 2024).

#include <cstdint>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/teacher_file.h"

namespace retort::train {

/// How the statistics of batches become those of a class.
///   ema   the paper's code: from 0 and 1, a tenth of the way to every batch that holds the class,
///         so that the last twenty or so decide
///   mean  over all images of the class, whatever batch they are in
const std::vector<std::string>& class_averages();

/// One pass over the training images as they are, in a random order, BatchNorm on its running
/// statistics; variances are biased. What it costs does not depend on the number of classes, and
/// the bits not on the number of threads.
/// @param average of class_averages()
/// @param batch_size images whose statistics enter together; matters for `ema` only
/// @return one [K,...] per buffer, in their order, under their names
/// @throws ConfigError for a network without BatchNorm; Interrupted when `stop` was requested
std::vector<storage::NamedTensor> class_statistics(
    const nn::Network& network, const nn::NetworkState& state, const data::ImageDataset& dataset,
    const std::string& average, std::int64_t batch_size, Rng rng, const StopFlag* stop = nullptr);

}  // namespace retort::train
