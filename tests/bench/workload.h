#pragma once
// What the benchmark works on: noise images of the usual shapes, and how much of them.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"

namespace retort::bench {

struct Sizes {
  std::string width = "";  ///< suffix of network names; empty: the papers' 128 channels
  std::int64_t train_per_class = 512;
  std::int64_t ipc = 10;
  std::int64_t feature_images = 256;
  std::int64_t dm_batch = 256;        ///< real images per class and iteration
  std::int64_t datadam_batch = 64;    ///< the same
  std::int64_t gradient_batch = 256;  ///< the same
  std::int64_t product_images = 100;
  std::vector<std::int64_t> train_batches = {100, 256};
  std::vector<std::int64_t> epoch_ipc = {10, 40};  ///< images per class that networks train on
  std::int64_t epoch_batch = 256;
  std::int64_t expert_per_class = 128;  ///< real images that an expert trains on
  std::int64_t expert_batch = 256;
  std::vector<std::int64_t> stacks = {2, 5};  ///< networks trained at once
  std::int64_t stack_batch = 100;
  std::int64_t inner_steps = 30;  ///< of a student in trajectory matching
  std::int64_t rounds = 7;
};

/// Every code path in seconds altogether: for the test.
Sizes small_sizes();

/// 28x28 gray and 32x32 RGB noise of 10 classes, in memory, made when first asked for.
class Workloads {
 public:
  explicit Workloads(const Sizes& sizes) : train_per_class_(sizes.train_per_class) {}

  static const std::vector<std::string>& names();  ///< "gray", "rgb"
  const data::ImageDataset& get(const std::string& name);

 private:
  std::int64_t train_per_class_;
  std::map<std::string, std::unique_ptr<data::ImageDataset>> made_;
};

/// The papers' network, of the width that the sizes ask for.
std::unique_ptr<nn::Network> default_network(const Sizes& sizes, const data::ImageDataset& dataset);

struct Batch {
  Tensor images;  ///< [N,C,H,W] preprocessed
  Tensor labels;  ///< int64 [N]
};
/// The first training images from `first` on; classes come in turn.
Batch training_batch(const data::ImageDataset& dataset, std::int64_t first, std::int64_t count);

}  // namespace retort::bench
