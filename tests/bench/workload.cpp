#include "tests/bench/workload.h"

#include <algorithm>
#include <cstring>
#include <memory>

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

Workload make_workload(const std::string& name, data::ImageShape shape, const Sizes& sizes) {
  data::DatasetInfo info{.name = "noise", .class_names = {}, .sha256 = {}, .note = {}};
  for (std::int64_t c = 0; c < kClasses; ++c) info.class_names.push_back(str("noise ", c));
  const std::vector<double> mean(std::size_t(shape.channels), 0.5);
  const std::vector<double> std(std::size_t(shape.channels), 0.29);
  const Rng rng = Rng(1).child(name);
  return {name, data::ImageDataset(info, noise_split(shape, sizes.train_per_class, rng.child("a")),
                                   noise_split(shape, 1, rng.child("b")),
                                   data::Preprocessing::mean_std(mean, std))};
}

}  // namespace

Sizes small_sizes() {
  return {.width = "-w8",
          .train_per_class = 20,
          .ipc = 2,
          .dm_batch = 16,
          .datadam_batch = 8,
          .epoch_ipc = {2, 8},
          .epoch_batch = 48,
          .rounds = 1};
}

std::vector<Workload> make_workloads(const Sizes& sizes) {
  return {make_workload("gray", {1, 28, 28}, sizes), make_workload("rgb", {3, 32, 32}, sizes)};
}

}  // namespace retort::bench
