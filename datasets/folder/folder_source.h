#pragma once
// One folder per class, as people sort pictures.

#include "datasets/dataset.h"

namespace retort::datasets::folder {

/// PATH/train/<class>/... and PATH/test/<class>/... (or val, valid, validation, testing), or
/// PATH/<class>/... with a seeded test split. Classes in the order of their names.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::folder
