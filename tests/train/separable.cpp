#include "tests/train/separable.h"

namespace retort::testing {
namespace {

constexpr std::int64_t kClasses = 3;
constexpr std::int64_t kSide = 8;

data::DataSplit make_split(std::int64_t per_class, Rng rng) {
  const std::int64_t n = per_class * kClasses;
  Tensor pixels = rng.uniform_tensor({n, 1, kSide, kSide}, 0, 120);
  for (std::int64_t i = 0; i < n; ++i) {
    pixels[i].narrow(1, 1 + 2 * (i % kClasses), 2).add_(100);
  }
  return {std::make_shared<data::MemoryStore>(pixels.to(at::kByte)),
          at::arange(n, at::kLong).remainder(kClasses)};
}

}  // namespace

data::ImageDataset separable_dataset(std::int64_t per_class, std::uint64_t seed) {
  const Rng rng(seed);
  data::DatasetInfo info;
  info.name = "bands";
  info.class_names = {"top", "middle", "bottom"};
  return {info, make_split(per_class, rng.child("train")), make_split(per_class, rng.child("test")),
          data::Preprocessing::mean_std({0.4}, {0.2})};
}

data::LabelledImages training_images(const data::ImageDataset& dataset) {
  const Tensor all = at::arange(dataset.size(data::Split::Train), at::kLong);
  return {dataset.batch(data::Split::Train, all),
          data::HardLabels{dataset.labels(data::Split::Train)}};
}

bool same_bits(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].equal(b[i])) return false;
  }
  return true;
}

}  // namespace retort::testing
