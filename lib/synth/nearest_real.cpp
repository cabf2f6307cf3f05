#include "lib/synth/nearest_real.h"

#include <algorithm>
#include <limits>

#include "lib/core/shape.h"

namespace retort::synth {
namespace {

constexpr std::int64_t kBlock = 512;  // real images at a time

}  // namespace

NearestReal nearest_real(const Tensor& pixels, const data::ImageDataset& dataset,
                         const StopFlag* stop) {
  const data::ImageShape shape = dataset.shape();
  expect_shape(pixels, {-1, shape.channels, shape.height, shape.width}, "pixels");
  // |a - b|^2 = |a|^2 - 2 ab + |b|^2 in whole numbers, which float64 holds.
  const Tensor wanted = pixels.flatten(1).to(at::kDouble);
  const Tensor own = wanted.square().sum(1);
  Tensor best = at::full({pixels.size(0)}, std::numeric_limits<double>::infinity(), at::kDouble);
  Tensor indices = at::zeros({pixels.size(0)}, at::kLong);
  const std::int64_t size = dataset.size(data::Split::Train);
  for (std::int64_t begin = 0; begin < size; begin += kBlock) {
    leave_if_requested(stop, "looking for the nearest real images");
    const Tensor some = at::arange(begin, std::min(size, begin + kBlock), at::kLong);
    const Tensor real = dataset.pixels(data::Split::Train, some).flatten(1).to(at::kDouble);
    const Tensor squares = own.unsqueeze(1) - 2 * wanted.mm(real.t()) + real.square().sum(1);
    const auto [least, at] = squares.min(1);
    const Tensor nearer = least < best;
    best = at::where(nearer, least, best);
    indices = at::where(nearer, at + begin, indices);
  }
  return {indices, (best / double(shape.numel())).sqrt() / 255};
}

}  // namespace retort::synth
