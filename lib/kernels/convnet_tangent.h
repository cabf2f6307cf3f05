#pragma once
// A ConvNet's derivative along a direction of its parameters, forwards and through the gradients of
// its images and its parameters; not for use outside this folder.

#include <functional>
#include <optional>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/convnet_plan.h"
#include "lib/kernels/direct.h"

namespace retort::kernels {

/// For features f(x, theta) and a direction v of theta (Pearlmutter 1994, "Fast exact
/// multiplication by the Hessian"):
///   forwards   d/de f(x, theta + e v)
///   backwards  d/de df/d(x, theta)(x, theta + e v)^T gy(e), for a cotangent gy with derivative tgy
/// Each convolution takes value and tangent side by side as twice the channels, so that the two
/// terms of the product rule are one product. A group of images goes both ways before the next one
/// starts, so that its tangents are never but in cache.
class ConvNetTangent {
 public:
  struct Wanted {
    bool images = false;
    bool parameters = false;
  };
  /// From the derivative [n,F] of the features of images first .. first + n - 1 to that of their
  /// cotangent, tgy [n,F] contiguous; not looked at if nothing is wanted.
  using Cotangent = std::function<Tensor(std::int64_t first, const Tensor& tfeatures)>;

  struct Result {
    Tensor features;             ///< [N,F], derivative of the features
    ConvNetGradients gradients;  ///< derivatives; undefined where not wanted
  };

  /// @param saved       of plan.gradients with `gout`; plan and saved must outlive this
  /// @param directions  kParametersPerBlock per block, contiguous, shaped like the parameters
  ConvNetTangent(const ConvNetPlan& plan, const std::vector<SavedBlock>& saved,
                 const Tensors& directions, Wanted wanted);

  /// The cotangent itself is the one that filled `gout`.
  /// @param parts as of ConvNetPlan::gradients
  Result run(const Cotangent& cotangent, std::int64_t parts);

 private:
  struct BlockTangent {
    Tensor bias, norm_weight, norm_bias;  ///< directions, padded
    Tensor forward, adjoint;        ///< weights of value and tangent side by side, transformed
    Tensor weight_sums, norm_sums;  ///< [parts,...], norm_sums' rows below; undefined if not wanted
    /// Where a group of images keeps its input (from the second block on of each pixel the value
    /// and then the tangent), the map's tangent, and those of its statistics, in floats.
    std::int64_t input = 0, map = 0, mean = 0, rstd = 0;
  };
  /// Images first .. first + count - 1 on their way forwards and back.
  struct Group {
    std::int64_t part, first, count;
    float* memory;
  };

  /// Rows of a block's sums: the derivatives of SumRow's, and the gradient of the norm's bias
  /// itself.
  static constexpr std::int64_t kNormBiasValueRow = kSumRows, kTangentSumRows = kSumRows + 1;
  /// Channels of a direct first block's map that are computed and used up together.
  static constexpr std::int64_t kDirectPanel = kChannelStep;

  bool direct(std::size_t block) const { return block == 0 && first_.has_value(); }
  bool wants_gradients() const { return wanted_.images || wanted_.parameters; }
  void add_direct(const Tensor& direction);
  Tensor transformed(std::size_t block, const Tensor& direction, bool adjoint) const;
  void lay_out_group();
  void allocate_sums(std::int64_t parts);

  std::int64_t input_size(std::size_t block) const;
  /// Entry `image` of the group, of what begins at `offset` and takes `size` floats per image.
  static float* entry(const Group& group, std::int64_t offset, std::int64_t image,
                      std::int64_t size) {
    return group.memory + offset + image * size;
  }
  /// The channels of an image's norm from `first` on that are taken together: all, but of a direct
  /// first block kDirectPanel.
  using NormInput = std::function<NormTangent(std::int64_t first)>;
  std::int64_t panel(std::size_t block) const {
    return direct(block) ? kDirectPanel : plan_.blocks()[block].map.channels;
  }
  /// All channels of a block that keeps its map.
  NormTangent norm_input(std::size_t block, const Group& group, std::int64_t image) const;
  /// Of a direct first block, kDirectPanel channels of the map from `first` on, computed in scratch
  /// memory.
  NormTangent direct_norm_input(const Group& group, std::int64_t image, const float* patches,
                                std::int64_t first) const;
  /// Where they lie in a map of value and tangent side by side.
  static DirectConvolution::Panel joined_panel(std::int64_t first) {
    return {2 * first, 2 * kDirectPanel, 2 * kDirectPanel};
  }

  /// @param out of the image
  void norm_forward(std::size_t block, const Group& group, std::int64_t image,
                    const NormInput& input, float* out) const;
  /// Where channels share their statistics, once per image before norm_backward: adds the image's
  /// part to the norm's sums.
  /// @param tgout of the image
  /// @return means over every group, [4][channels] in scratch memory; else nullptr
  const float* add_norm_sums_and_share(std::size_t block, const Group& group, std::int64_t image,
                                       const NormInput& input, const float* tgout) const;
  /// Of the panel `input` that begins with channel `first`. Adds the image's part to the sums that
  /// are not yet in.  @param means as above
  void norm_backward(std::size_t block, const Group& group, std::int64_t image,
                     const NormTangent& input, std::int64_t first, const float* means,
                     const float* tgout, float* gmap) const;

  void forward_group(const Group& group) const;
  void forward_block(std::size_t block, const Group& group, float* out) const;
  void forward_direct(const Group& group, float* out) const;
  void backward_group(const Group& group, const Tensor& tgy) const;
  /// @param tgout of the block's output  @param tgin of its input, written
  void backward_block(std::size_t block, const Group& group, const float* tgout, float* tgin) const;
  void backward_direct(const Group& group, const float* tgout) const;
  /// A row of the group's part of a block's sums, from channel `first` on.
  float* sum_row(std::size_t block, const Group& group, std::int64_t row, std::int64_t first) const;
  /// Nothing if not wanted.
  std::optional<NormTangentSums> norm_sums(std::size_t block, const Group& group,
                                           std::int64_t first) const;
  Tensors parameter_gradients() const;
  Tensor bias_gradient(std::size_t block, const Tensor& sums) const;

  const ConvNetPlan& plan_;
  const std::vector<SavedBlock>& saved_;
  Wanted wanted_;
  const Loops& loops_;
  std::vector<BlockTangent> blocks_;
  std::int64_t output_ = 0, group_floats_ = 0;  ///< of a group's memory: the last output, the end
  /// Of value and tangent side by side, kDirectPanel channels at a time.
  std::optional<DirectConvolution> first_;
  Tensor first_bias_;
  Tensor features_, images_;
};

}  // namespace retort::kernels
