#include "lib/kernels/convnet_statistics.h"

#include <algorithm>
#include <tuple>

#include "lib/kernels/common.h"

namespace retort::kernels {
namespace {

/// Images of a group.
std::int64_t group_size(std::int64_t group, std::int64_t images) {
  return group > 0 ? group : images;
}

/// [G,C] of the groups' rows; [C] where there are none.
Tensor joined(const Tensors& rows, std::int64_t group) {
  return group > 0 ? at::stack(rows) : rows.front();
}

Tensor padded_rows(const Tensor& rows, std::int64_t channels) {
  return at::constant_pad_nd(rows.to(at::kFloat), {0, channels - rows.size(1)}).contiguous();
}

}  // namespace

ChannelStatistics channel_statistics(const Tensor& map, std::int64_t group) {
  Tensors means;
  Tensors variances;
  for (const Tensor& images : map.split(group_size(group, map.size(0)))) {
    auto [variance, mean] = at::var_mean(images, at::IntArrayRef{0, 2, 3}, /*correction=*/0);
    means.push_back(mean);
    variances.push_back(variance);
  }
  return {joined(means, group), joined(variances, group)};
}

ChannelStatistics combined_statistics(const Tensor& moments, std::int64_t pixels,
                                      std::int64_t channels, std::int64_t group) {
  Tensors means;
  Tensors variances;
  for (const Tensor& images : moments.split(group_size(group, moments.size(0)))) {
    const Tensor own = images.select(1, 0).to(at::kDouble);
    const auto count = double(images.size(0));
    const Tensor mean = wide_sum(own) / count;
    const Tensor squares = wide_sum(images.select(1, 1) + double(pixels) * (own - mean).square());
    const auto kept = [&](const Tensor& row) { return row.narrow(0, 0, channels).to(at::kFloat); };
    means.push_back(kept(mean));
    variances.push_back(kept(squares / (count * double(pixels))));
  }
  return {joined(means, group), joined(variances, group)};
}

MapCotangent map_cotangent(const ChannelStatistics& cotangent, const ChannelStatistics& statistics,
                           const Tensor& fixed_mean, std::int64_t images, std::int64_t pixels,
                           std::int64_t group) {
  const std::int64_t channels = statistics.mean.size(-1);
  const Tensor mean = statistics.mean.reshape({-1, channels}).to(at::kDouble);
  const auto wide = [&](const Tensor& gradient) {
    return gradient.defined() ? gradient.reshape({-1, channels}).to(at::kDouble)
                              : at::zeros_like(mean);
  };
  // The last group may be smaller.
  const std::int64_t size = group_size(group, images);
  Tensor count = at::full({mean.size(0), 1}, double(size * pixels), mean.options());
  count[-1] = double((images - (mean.size(0) - 1) * size) * pixels);
  const Tensor gmean = wide(cotangent.mean);
  const Tensor twice = 2 * wide(cotangent.variance) / count;
  const Tensor fixed = fixed_mean.narrow(0, 0, channels).to(at::kDouble);
  return {.shift = padded_rows(-gmean / count - (fixed - mean) * twice, fixed_mean.size(0)),
          .slope = padded_rows(-twice, fixed_mean.size(0)),
          .bias = wide_sum(gmean).to(at::kFloat),
          .group = group};
}

}  // namespace retort::kernels
