#pragma once
// A ConvNet's derivative along a direction of its parameters, forwards and through the gradient of
// its images; not for use outside this folder.

#include <optional>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/convnet_plan.h"
#include "lib/kernels/direct.h"

namespace retort::kernels {

/// For features f(x, theta) and a direction v of theta (Pearlmutter 1994, "Fast exact
/// multiplication by the Hessian"):
///   forward   d/de f(x, theta + e v)
///   backward  d/de df/dx(x, theta + e v)^T gy(e), for a cotangent gy with derivative tgy
/// Each convolution takes value and tangent side by side as twice the channels, so that the two
/// terms of the product rule are one product.
class ConvNetTangent {
 public:
  /// @param saved       of plan.forward, with `gout` filled by plan.backward; must outlive this
  /// @param directions  4 per block, contiguous, shaped like the parameters
  ConvNetTangent(const ConvNetPlan& plan, const std::vector<SavedBlock>& saved,
                 const Tensors& directions);

  /// @return [N,F], derivative of the features
  Tensor forward();
  /// After `forward`. The cotangent itself is the one plan.backward was called with.
  /// @param tgy [N,F] contiguous, its derivative  @return [N,C,H,W], derivative of the images'
  /// gradient
  Tensor backward(const Tensor& tgy) const;

 private:
  struct BlockTangent {
    Tensor bias, norm_weight, norm_bias;  ///< directions, padded
    Tensor map;                           ///< [N,h,w,c]; undefined for a direct first block
    Tensor mean, rstd;                    ///< [N,c]
  };

  bool direct(std::size_t block) const { return block == 0 && first_.has_value(); }
  Tensor transformed(std::size_t block, bool adjoint) const;
  /// Value and tangent of a direct first block's map, side by side, in scratch memory.
  const float* direct_map(std::int64_t image) const;
  NormTangent norm_input(std::size_t block, std::int64_t image) const;
  void forward_group(std::int64_t first, std::int64_t count, const Tensors& weights,
                     const Tensor& features) const;
  void forward_block(std::size_t block, std::int64_t first, std::int64_t count, const float* in,
                     const Tensor& weight, float* out) const;
  const float* gradient_means(std::size_t block, std::int64_t image, const NormTangent& norm,
                              const float* gy, const float* tgy) const;
  void backward_group(std::int64_t first, std::int64_t count, const Tensors& adjoints,
                      const Tensor& tgy, const Tensor& result) const;

  const ConvNetPlan& plan_;
  const std::vector<SavedBlock>& saved_;
  const Loops& loops_;
  Tensors directions_;
  std::vector<BlockTangent> blocks_;
  std::optional<DirectConvolution> first_;  ///< of value and tangent side by side
  Tensor first_weight_, first_bias_, first_adjoint_;
};

}  // namespace retort::kernels
