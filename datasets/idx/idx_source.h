#pragma once
// MNIST-like datasets in IDX files.

#include "datasets/dataset.h"

namespace retort::datasets::idx {

/// mnist, fashion-mnist, emnist-<split> by name, with their class names, constants and file names;
/// `idx` for any other folder with <train|t10k|test>-images-idx3-ubyte and -labels-idx1-ubyte
/// (.gz or plain; rank-4 images [N,C,H,W] or [N,H,W,C]), with classes.txt if it is there.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::idx
