#include "lib/kernels/convnet_group_norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace retort::kernels {

void share_means(const ConvNetPlan::Block& block, float* means) {
  for (std::int64_t first = 0; first < block.out_channels; first += block.norm_group) {
    float* const group = means + first;
    float* const end = group + block.norm_group;
    std::fill(group, end, float(std::accumulate(group, end, 0.0) / double(block.norm_group)));
  }
  std::fill(means + block.out_channels, means + block.map.channels, 0.0F);
}

void share_statistics(const ConvNetPlan::Block& block, double eps, float* mean, float* squares) {
  const auto pixels = double(block.map.pixels());
  for (std::int64_t first = 0; first < block.out_channels; first += block.norm_group) {
    float* const means = mean + first;
    float* const end = means + block.norm_group;
    const double shared = std::accumulate(means, end, 0.0) / double(block.norm_group);
    double total = 0;
    for (std::int64_t c = first; c < first + block.norm_group; ++c) {
      const double away = mean[c] - shared;
      total += squares[c] + pixels * away * away;
    }
    const double variance = total / (pixels * double(block.norm_group));
    std::fill(means, end, float(shared));
    std::fill(squares + first, squares + first + block.norm_group,
              float(1 / std::sqrt(variance + eps)));
  }
  std::fill(mean + block.out_channels, mean + block.map.channels, 0.0F);
  std::fill(squares + block.out_channels, squares + block.map.channels, 0.0F);
}

// With g the gradient after the affine map, h = weight g, n = (z - mean) rstd, M the mean over the
// group's channels and pixels:
//   dz = rstd (h - M[h] - n M[hn])
void share_gradient_sums(const ConvNetPlan::Block& block, const float* rstd, float* sum_g,
                         float* sum_gd) {
  const float* const weight = block.norm_weight.const_data_ptr<float>();
  const float per_pixel = 1 / float(block.map.pixels());
  for (std::int64_t c = 0; c < block.map.channels; ++c) {
    sum_g[c] *= weight[c] * per_pixel;
    sum_gd[c] *= weight[c] * rstd[c] * per_pixel;
  }
  share_means(block, sum_g);
  share_means(block, sum_gd);
  for (std::int64_t c = 0; c < block.map.channels; ++c) {
    sum_g[c] *= rstd[c];
    sum_gd[c] *= rstd[c] * rstd[c];
  }
}

// With d = z - mean, and a dot for the derivatives:
//   shift = rstd M[weight g]      shift. = rstd. M[weight g] + rstd M[weight. g + weight g.]
//   slope = rstd^3 M[weight g d]  slope. = 3 rstd^2 rstd. M[weight g d]
//                                          + rstd^3 M[weight. g d + weight (g d).]
void share_tangent_sums(const ConvNetPlan::Block& block, const float* rstd, const float* trstd,
                        const float* tweight, float* sums) {
  const std::int64_t channels = block.map.channels;
  const float* const weight = block.norm_weight.const_data_ptr<float>();
  const float per_pixel = 1 / float(block.map.pixels());
  float* const g = sums;
  float* const gd = sums + channels;
  float* const tg = sums + 2 * channels;
  float* const tgd = sums + 3 * channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    tg[c] = (tweight[c] * g[c] + weight[c] * tg[c]) * per_pixel;
    tgd[c] = (tweight[c] * gd[c] + weight[c] * tgd[c]) * per_pixel;
    g[c] *= weight[c] * per_pixel;
    gd[c] *= weight[c] * per_pixel;
  }
  for (float* const means : {g, gd, tg, tgd}) share_means(block, means);
  for (std::int64_t c = 0; c < channels; ++c) {
    const float square = rstd[c] * rstd[c];
    tg[c] = trstd[c] * g[c] + rstd[c] * tg[c];
    tgd[c] = square * (3 * trstd[c] * gd[c] + rstd[c] * tgd[c]);
    g[c] *= rstd[c];
    gd[c] *= square * rstd[c];
  }
}

}  // namespace retort::kernels
