#pragma once
// CIFAR-10, CIFAR-100 and other data in their binary layout.

#include "datasets/dataset.h"

namespace retort::datasets::cifar_bin {

/// cifar10: data_batch_1.bin .. data_batch_5.bin and test_batch.bin. cifar100: train.bin, test.bin,
/// fine labels. `cifar-bin`: whichever of the two layouts a folder has, any number of classes and
/// batches. Class names from batches.meta.txt or fine_label_names.txt, else the published ones,
/// else numbers.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::cifar_bin
