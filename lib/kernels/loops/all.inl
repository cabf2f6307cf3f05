// Everything for one instruction set; the including source says which.

namespace retort::kernels {
namespace {

#include "lib/kernels/loops/vec.inl"
#include "lib/kernels/loops/transpose.inl"
#include "lib/kernels/loops/product.inl"
#include "lib/kernels/loops/winograd.inl"
#include "lib/kernels/loops/norm.inl"
#include "lib/kernels/loops/tangent.inl"
#include "lib/kernels/loops/batch_norm.inl"
#include "lib/kernels/loops/attention.inl"
#include "lib/kernels/loops/planes.inl"

}  // namespace

const Loops& RETORT_LOOPS() {
  static constexpr Loops kTable = {
      RETORT_LOOPS_NAME,
      to_channels_last,
      to_channels_first,
      product<false>,
      product<true>,
      transform_weight,
      convolve_scratch,
      convolve,
      convolve_weight_gradient,
      convolve_weight_gradient_tangent,
      finish_weight_gradient,
      norm_relu_pool,
      norm_relu_pool_gradient,
      norm_tangent_statistics,
      norm_relu_pool_tangent,
      norm_relu_pool_gradient_tangent,
      norm_gradient_tangent_means,
      norm_relu_pool_group_gradient_tangent,
      image_statistics,
      affine_relu_pool,
      affine_relu_pool_sums,
      affine_relu_pool_gradient,
      channel_sum,
      channel_affine,
      channel_affine_gradient,
  };
  return kTable;
}

}  // namespace retort::kernels
