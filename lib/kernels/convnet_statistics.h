#pragma once
// Statistics of a batch at the input of a norm that does not use them: what the decoupled methods
// compare with the running ones.

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::kernels {

/// Of a map per channel, over images and pixels.
struct ChannelStatistics {
  Tensor mean;      ///< [C]; [G,C] where there are groups of images
  Tensor variance;  ///< the same; biased: divided by the number of values
};

/// In plain LibTorch operations, differentiable.
/// @param map [N,C,h,w]
/// @param group every so many consecutive images, the last group of what is left; 0: all
ChannelStatistics channel_statistics(const Tensor& map, std::int64_t group);

// The rest is not for use outside this folder.

/// Those of groups, of one population each (Chan, Golub and LeVeque 1983).
/// @param moments [N,2,padded channels]: of every image its channels' means and their sums of
///        squared deviations
ChannelStatistics combined_statistics(const Tensor& moments, std::int64_t pixels,
                                      std::int64_t channels, std::int64_t group);

/// What a cotangent of the statistics adds to that of the map z:
/// -shift - slope (z - fixed mean), as Loops::affine_relu_pool_gradient takes it.
struct MapCotangent {
  Tensor shift;  ///< [G,padded channels]
  Tensor slope;  ///< the same
  Tensor bias;   ///< [C]: summed over images and pixels
  std::int64_t group = 0;

  std::int64_t row(std::int64_t image) const { return group > 0 ? image / group : 0; }
};
/// @param cotangent,statistics [C] or [G,C]; a tensor of `cotangent` may be undefined: zero
/// @param fixed_mean [padded channels], of the norm
/// @param images N, of `pixels` each
MapCotangent map_cotangent(const ChannelStatistics& cotangent, const ChannelStatistics& statistics,
                           const Tensor& fixed_mean, std::int64_t images, std::int64_t pixels,
                           std::int64_t group);

}  // namespace retort::kernels
