#pragma once
// What networks in a file were trained on, and what whoever uses them has to agree with.

#include <cstdint>
#include <string>
#include <vector>

#include "lib/data/image_dataset.h"
#include "lib/data/preprocessing.h"

namespace retort::storage {

struct TrainedOn {
  std::string dataset;                   ///< "cifar10"
  std::string dataset_sha256;            ///< of the whole dataset, as in DatasetInfo
  std::string dataset_note;              ///< DatasetInfo::note: which part of it was trained on
  std::vector<std::string> class_names;  ///< in label order
  data::ImageShape image;
  std::int64_t train_images = 0;
  data::Preprocessing preprocessing = data::Preprocessing::identity(1);

  static TrainedOn of(const data::ImageDataset& dataset);
};

/// As root attributes, /class_names and /preprocessing.
void write_trained_on(class H5Writer& out, const TrainedOn& data);
TrainedOn read_trained_on(const class H5Reader& in);
/// What must hold on both sides of a file. @throws StorageError beginning with `source`
void check_trained_on(const TrainedOn& data, const std::string& source);

}  // namespace retort::storage
