#pragma once
// ConvNets with BatchNorm in training mode, where all images share statistics; not for use outside
// this folder.

#include "lib/kernels/convnet_attention.h"

namespace retort::kernels {

/// What a forward pass moves towards the statistics of its batch.
struct RunningStatistics {
  Tensors buffers;  ///< mean and variance [O] of every block, changed in place; or empty
  double momentum = 0.1;
};

/// Layer by layer over the whole batch. A convolution goes together with the sums of its output and
/// with the pooling before it, so that each map crosses memory once in either direction; the map of
/// a first block with few channels, the widest, is computed again instead. Images are split over
/// threads, and the bits of the results do not depend on how.
///
/// Statistics: mean and squared deviations of each image in float32, put together in float64 as of
/// one population (Chan, Golub and LeVeque 1983).
class BatchNormPlan : public AttentionPlan {
 public:
  BatchNormPlan(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape, int power,
                RunningStatistics running = {});

  /// Updates the running statistics as LibTorch's batch_norm does: with the unbiased variance.
  /// @param saved with mean and rstd of the batch, [padded channels]
  Tensor forward(std::vector<SavedBlock>* saved, bool inputs) const override;
  ConvNetGradients backward(const std::vector<SavedBlock>& saved, const Tensor& gy,
                            const WantedGradients& wanted) const override;

 private:
  using Blocks = std::vector<SavedBlock>;
  struct Norm;         // of one block over the batch
  struct Sums;         // of one block's gradients over the batch
  struct Convolution;  // gradients of one block's

  bool is_direct(std::size_t block) const { return block == 0 && direct_.has_value(); }
  const float* map_of(std::size_t block, std::int64_t image, const Blocks& blocks) const;
  void pool(std::size_t block, std::int64_t first, std::int64_t count, const Blocks& blocks,
            const Norm& norm, float* out) const;
  const float* input_of(std::size_t block, std::int64_t first, std::int64_t count,
                        const Blocks& blocks, const Norm* below) const;

  Tensor convolve(std::size_t block, const Blocks& blocks) const;
  void set_statistics(std::size_t block, const Tensor& images, SavedBlock& own) const;
  void update_running(std::size_t block, const Tensor& mean, const Tensor& unbiased) const;
  Tensor pooled_features(const Blocks& blocks) const;

  Tensor turned(const Tensor& gy) const;
  Sums sum_gradients(std::size_t block, const Blocks& blocks, const Tensor& gout) const;
  Convolution start_convolution(std::size_t block, bool input, bool weight) const;
  void propagate(std::size_t block, const Blocks& blocks, const Tensor& gout, const Sums& sums,
                 Convolution& convolution) const;
  void propagate_direct(std::int64_t image, const float* gmap, Convolution& convolution,
                        std::int64_t part) const;
  void propagate_group(std::size_t block, std::int64_t first, std::int64_t count,
                       const Blocks& blocks, const float* gmap, Convolution& convolution,
                       std::int64_t part) const;

  RunningStatistics running_;
  Tensor first_weight_;  // packed, to compute a direct block's map
};

}  // namespace retort::kernels
