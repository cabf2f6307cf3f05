#pragma once
// What every architecture goes through to get a score: something to train on, and images to be
// tested on.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/protocol.h"
#include "lib/train/lessons.h"
#include "lib/train/supervised.h"

namespace retort::experiments::nas {

struct Course {
  std::string name;  ///< also of the folder of its records
  std::shared_ptr<const train::Lessons> lessons;
  train::TrainOptions options;
  std::int64_t images_per_epoch = 0;
  data::ImageDataset tested_on;  ///< its test split
  std::vector<std::uint64_t> seeds;
  /// Of the random numbers of its networks: those of proxies do not begin as those of the reference
  /// do, which would make their scores agree by luck.
  std::string stream;
  std::string key;  ///< SHA-256 of all that accuracies depend on beside architecture and seed

  std::int64_t images() const {
    return images_per_epoch * options.epochs;
  }  ///< that one training sees
};

/// Epochs over `images` of the training split each, drawn without repetition and anew for every
/// epoch; all of them in a random order where there are not more.
class DatasetLessons final : public train::Lessons {
 public:
  DatasetLessons(data::ImageDataset dataset, std::int64_t images, train::TrainOptions options);
  std::int64_t steps_per_epoch() const override;
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override;
  std::int64_t images() const { return images_; }

 private:
  data::ImageDataset dataset_;
  std::int64_t images_;
  train::TrainOptions options_;
};

/// Networks trained on a set, tested on what `held_out` holds out.
/// @throws ConfigError if the set does not fit the dataset
Course set_course(const std::string& name, const data::SyntheticSet& set,
                  const eval::Protocol& protocol, const data::ImageDataset& held_out,
                  std::vector<std::uint64_t> seeds);

/// Networks trained on the training split of `held_out` for no more steps than on a set of `images`
/// images, of as many images each.
Course early_stopping(const std::string& name, std::int64_t images, const eval::Protocol& protocol,
                      const data::ImageDataset& held_out, std::vector<std::uint64_t> seeds);

/// Networks trained on the training split of `dataset` and tested on its test split.
Course reference_course(const eval::Protocol& protocol, const data::ImageDataset& dataset,
                        std::vector<std::uint64_t> seeds);

inline constexpr const char* kReference = "reference";
inline constexpr const char* kEarlyStopping = "early-stopping";

}  // namespace retort::experiments::nas
