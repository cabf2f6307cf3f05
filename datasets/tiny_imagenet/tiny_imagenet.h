#pragma once
// Tiny-ImageNet as it is distributed.

#include "datasets/dataset.h"

namespace retort::datasets::tiny_imagenet {

/// train/<wnid>/images/*.JPEG; val/images with val_annotations.txt, or val/<wnid>/..., as test
/// split. Classes in the order of their WordNet ids, named after the first word of words.txt. Gray
/// files become colour images.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::tiny_imagenet
