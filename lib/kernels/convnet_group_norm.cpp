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

// With g the gradient after the affine map, h = weight g, d = z - mean, M the mean over the group's
// channels and pixels:
//   dz = rstd h - shift - slope d     shift = rstd M[h]     slope = rstd^3 M[h d]
// whose derivatives are loops/tangent.inl's.
void share_gradient_sums(const ConvNetPlan::Block& block, const float* rstd, float* sum_g,
                         float* sum_gd) {
  const float* const weight = block.norm_weight.const_data_ptr<float>();
  const float per_pixel = 1 / float(block.map.pixels());
  for (std::int64_t c = 0; c < block.map.channels; ++c) {
    sum_g[c] *= weight[c] * per_pixel;
    sum_gd[c] *= weight[c] * per_pixel;
  }
  share_means(block, sum_g);
  share_means(block, sum_gd);
  for (std::int64_t c = 0; c < block.map.channels; ++c) {
    sum_g[c] *= rstd[c];
    sum_gd[c] *= rstd[c] * rstd[c] * rstd[c];
  }
}

}  // namespace retort::kernels
