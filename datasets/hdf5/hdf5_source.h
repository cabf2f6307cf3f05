#pragma once
// Images and labels in one HDF5 file.

#include "datasets/dataset.h"

namespace retort::datasets::hdf5 {

/// images and labels, or train/images and train/labels (or train_images, train_labels); optional
/// test/images and test/labels (or test_images, test_labels). Images are uint8 [N,H,W], [N,H,W,C]
/// or [N,C,H,W]; where both readings are possible the attribute `layout` ("NHWC" or "NCHW") of the
/// images or the file decides. Labels are integers [N]. Class names: a dataset or a comma-separated
/// attribute `class_names`, else numbers. The attribute `mirror_changes_class` ("yes" or "no") of
/// the file says whether the images are digits or letters, which no augmentation may mirror; else
/// no.
data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options);

}  // namespace retort::datasets::hdf5
