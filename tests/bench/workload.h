#pragma once
// What the benchmark works on: noise images of the usual shapes, and how much of them.

#include <cstdint>
#include <string>
#include <vector>

#include "lib/data/image_dataset.h"

namespace retort::bench {

struct Sizes {
  std::string width = "";  ///< suffix of network names; empty: the papers' 128 channels
  std::int64_t train_per_class = 512;
  std::int64_t ipc = 10;
  std::int64_t dm_batch = 256;                     ///< real images per class and iteration
  std::int64_t datadam_batch = 64;                 ///< the same
  std::vector<std::int64_t> epoch_ipc = {10, 40};  ///< images per class that networks train on
  std::int64_t epoch_batch = 256;
  std::int64_t rounds = 7;
};

/// Every code path in about a second altogether: for the test.
Sizes small_sizes();

struct Workload {
  std::string name;  ///< "gray" or "rgb"
  data::ImageDataset dataset;
};

/// 28x28 gray and 32x32 RGB noise of 10 classes, in memory.
std::vector<Workload> make_workloads(const Sizes& sizes);

}  // namespace retort::bench
