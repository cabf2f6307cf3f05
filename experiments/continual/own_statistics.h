#pragma once

#include "lib/data/image_dataset.h"

namespace retort::experiments::continual {

/// Mean and std of the training images of a dataset, whatever its preprocessing is.
data::Preprocessing own_mean_std(const data::ImageDataset& dataset);

}  // namespace retort::experiments::continual
