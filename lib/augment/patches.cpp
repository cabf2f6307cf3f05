#include "lib/augment/patches.h"

#include <algorithm>
#include <vector>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::augment {
namespace {

/// Which position of a side goes where, for every image.  @return int64 [count,size]
Tensor shuffled_positions(std::int64_t count, std::int64_t size, std::int64_t factor,
                          const Rng& rng) {
  const Tensor result = at::empty({count, size}, at::kLong);
  auto* to = result.data_ptr<std::int64_t>();
  for (std::int64_t image = 0; image < count; ++image) {
    Rng stream = rng.child(image);
    for (const std::int64_t strip : stream.permutation(factor)) {
      const std::int64_t larger = size % factor;
      const std::int64_t begin = strip * (size / factor) + std::min(strip, larger);
      const std::int64_t length = size / factor + (strip < larger ? 1 : 0);
      for (std::int64_t i = 0; i < length; ++i) *to++ = begin + i;
    }
  }
  return result;
}

}  // namespace

Tensor shuffle_patches(const Tensor& images, std::int64_t factor, const Rng& rng) {
  const std::int64_t height = images.size(2);
  const std::int64_t width = images.size(3);
  if (factor < 1 || factor > std::min(height, width)) {
    throw ConfigError(str("patches of ", height, " x ", width,
                          " pixels: expected a factor that leaves each a pixel, found ", factor));
  }
  if (factor == 1) return images;
  const std::int64_t n = images.size(0);
  const Tensor columns = shuffled_positions(n, width, factor, rng.child("columns"));
  const Tensor rows = shuffled_positions(n, height, factor, rng.child("rows"));
  const auto on_device = [&](const Tensor& index) { return index.to(images.device()); };
  return images.gather(3, on_device(columns).view({n, 1, 1, width}).expand_as(images))
      .gather(2, on_device(rows).view({n, 1, height, 1}).expand_as(images));
}

}  // namespace retort::augment
