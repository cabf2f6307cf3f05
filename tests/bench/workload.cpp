#include "tests/bench/workload.h"

#include <algorithm>
#include <cstring>

#include "lib/core/rng.h"
#include "lib/core/str.h"

namespace retort::bench {
namespace {

constexpr std::int64_t kClasses = 10;

data::DataSplit noise_split(data::ImageShape shape, std::int64_t per_class, Rng rng) {
  const std::int64_t count = kClasses * per_class;
  const Tensor images = at::empty({count, shape.channels, shape.height, shape.width}, at::kByte);
  auto* bytes = images.mutable_data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < images.numel(); i += 8) {
    const std::uint64_t bits = rng.bits();
    std::memcpy(bytes + i, &bits, std::size_t(std::min<std::int64_t>(8, images.numel() - i)));
  }
  return {std::make_shared<data::MemoryStore>(images),
          at::arange(kClasses, at::kLong).repeat({per_class})};
}

data::ImageShape shape_of(const std::string& name) {
  return name == "gray" ? data::ImageShape{1, 28, 28} : data::ImageShape{3, 32, 32};
}

}  // namespace

Sizes small_sizes() {
  return {.width = "-w8",
          .train_per_class = 24,
          .ipc = 2,
          .feature_images = 40,
          .dm_batch = 16,
          .datadam_batch = 8,
          .gradient_batch = 16,
          .product_images = 20,
          .train_batches = {40},
          .epoch_ipc = {8},
          .epoch_batch = 48,
          .expert_per_class = 10,
          .expert_batch = 48,
          .stacks = {2},
          .stack_batch = 20,
          .inner_steps = 4,
          .rounds = 1};
}

const std::vector<std::string>& Workloads::names() {
  static const std::vector<std::string> names = {"gray", "rgb"};
  return names;
}

const data::ImageDataset& Workloads::get(const std::string& name) {
  auto& dataset = made_[name];
  if (dataset) return *dataset;
  const auto shape = shape_of(name);
  data::DatasetInfo info{.name = "noise", .class_names = {}, .sha256 = {}, .note = {}};
  for (std::int64_t c = 0; c < kClasses; ++c) info.class_names.push_back(str("noise ", c));
  const std::vector<double> mean(std::size_t(shape.channels), 0.5);
  const std::vector<double> std(std::size_t(shape.channels), 0.29);
  const Rng rng = Rng(1).child(name);
  dataset = std::make_unique<data::ImageDataset>(
      info, noise_split(shape, train_per_class_, rng.child("a")),
      noise_split(shape, 1, rng.child("b")), data::Preprocessing::mean_std(mean, std));
  return *dataset;
}

std::unique_ptr<nn::Network> default_network(const Sizes& sizes,
                                             const data::ImageDataset& dataset) {
  return nn::make_network("ConvNet-3" + sizes.width, dataset.shape(), dataset.num_classes());
}

Batch training_batch(const data::ImageDataset& dataset, std::int64_t first, std::int64_t count) {
  const Tensor rows = at::arange(first, first + count, at::kLong);
  return {dataset.batch(data::Split::Train, rows),
          dataset.labels(data::Split::Train).index_select(0, rows)};
}

}  // namespace retort::bench
