#pragma once
// ConvNets in cache-sized groups with attention sums, or with statistics that channels share or
// that are given, beside the batch's own; not for use outside this folder.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "lib/kernels/convnet_plan.h"
#include "lib/kernels/convnet_statistics.h"

namespace retort::kernels {

/// Running statistics of a block's BatchNorm: mean and variance, [O] each.
inline constexpr std::size_t kBuffersPerBlock = 2;

/// Per block [padded channels].
struct FixedStatistics {
  Tensors mean;
  Tensors rstd;
};

/// @param buffers kBuffersPerBlock per block, which are copied
FixedStatistics fixed_statistics(std::span<const Tensor> buffers, double eps);

/// ConvNetPlan with four things more: the attention of every block, norms whose statistics the
/// channels of a group share (GroupNorm, by the shape), norms whose statistics are given
/// (BatchNorm in evaluation) instead of each image's own, and beside these the batch's.
class AttentionPlan : public ConvNetPlan {
 public:
  /// @param power 1, 2, 4, or 0 for no attention
  AttentionPlan(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape, int power,
                std::optional<FixedStatistics> fixed = std::nullopt);

  bool has_fixed_statistics() const override { return fixed_.has_value(); }
  /// Written by `forward`: per block [N,h*w]; empty without a power.
  const Tensors& attention() const { return attention_; }
  /// For `backward`: per block [N,h*w] contiguous, undefined for zero.
  void set_attention_gradients(Tensors gradients) { gattention_ = std::move(gradients); }

  /// Before `forward`, of a plan with given statistics: the batch's are looked at too.
  void look_at_statistics();
  /// Written by `forward` if they are: per block [N,2,padded channels], of every image the means
  /// and the sums of squared deviations from them.
  const Tensors& moments() const { return moments_; }
  const FixedStatistics& fixed() const { return *fixed_; }
  /// For `backward`: per block.
  void set_statistics_gradients(std::vector<MapCotangent> gradients) {
    gstatistics_ = std::move(gradients);
  }

 protected:
  std::vector<SavedBlock> allocate_saved(bool inputs) const override;
  void norm_relu_pool(std::size_t block, std::int64_t image, const float* map, SavedBlock* saved,
                      float* out) const override;
  void norm_gradient(std::size_t block, std::int64_t image, const SavedBlock& saved,
                     const float* map, const float* gout, float* gmap, float* sums) const override;
  Tensor bias_gradient(std::size_t block, const Tensor& sums) const override;

  float* attention_of(std::size_t block, std::int64_t image) const;
  const float* attention_gradient_of(std::size_t block, std::int64_t image) const;

  int power_;

 private:
  /// Mean and 1/deviation of an image's own channels or groups.
  void own_statistics(const Block& block, const float* map, float* mean, float* rstd) const;
  /// @param scale [channels], written
  Affine affine(const Block& block, const float* mean, const float* rstd, float* scale) const;
  /// Of the norm's parameters.  @param sums as norm_gradient takes them
  /// @param sum_g,sum_gd [channels], written
  void add_parameter_sums(std::size_t block, std::int64_t image, const float* map,
                          const Affine& affine, const float* rstd, const float* gout, float* sums,
                          float* sum_g, float* sum_gd) const;

  std::optional<FixedStatistics> fixed_;
  Tensors attention_;
  Tensors gattention_;
  Tensors moments_;
  std::vector<MapCotangent> gstatistics_;
};

/// For norms by each image's own statistics, without attention.
std::unique_ptr<ConvNetPlan> own_statistics_plan(const Tensor& x, const Tensors& parameters,
                                                 const ConvNetShape& shape);

}  // namespace retort::kernels
