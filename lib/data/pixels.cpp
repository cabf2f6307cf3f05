#include "lib/data/pixels.h"

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::data {

Tensor clamp_to_pixels(const Preprocessing& preprocessing, const Tensor& images) {
  if (preprocessing.kind() != Preprocessing::Kind::MeanStd) {
    throw ConfigError("clamping to pixels: expected preprocessing by mean and std, found " +
                      preprocessing.description());
  }
  const auto channels = std::int64_t(preprocessing.mean().size());
  expect_shape(images, {-1, channels, -1, -1}, "images to clamp");
  const auto bound = [&](double pixel) {
    std::vector<double> values(preprocessing.mean().size());
    for (std::size_t c = 0; c < values.size(); ++c) {
      values[c] = (pixel - preprocessing.mean()[c]) / preprocessing.std()[c];
    }
    return at::tensor(values, at::kDouble).to(images.options()).view({1, -1, 1, 1});
  };
  return images.clamp(bound(0), bound(1));
}

Tensor truncated_bytes(const Preprocessing& preprocessing, const Tensor& images) {
  return preprocessing.invert(images).clamp_(0, 1).mul_(255).to(at::kByte);
}

Tensor exact_bytes(const Preprocessing& preprocessing, const Tensor& images) {
  const Tensor bytes = preprocessing.invert(images).mul_(255).round_().clamp_(0, 255).to(at::kByte);
  const auto other = preprocessing.apply(bytes).ne(images).sum().item<std::int64_t>();
  if (other == 0) return bytes;
  throw DataError(str("images of 8-bit pixels: ", other, " of ", images.numel(),
                      " values are none that such a pixel becomes"));
}

}  // namespace retort::data
