#pragma once
// Norms whose statistics the channels of a group share (GroupNorm), of one image; not for use
// outside this folder.

#include "lib/kernels/convnet_plan.h"

namespace retort::kernels {

/// Every channel's mean over pixels becomes that of its group; a padded channel's becomes zero.
/// @param means [padded channels]
void share_means(const ConvNetPlan::Block& block, float* means);

/// What Loops::image_statistics wrote becomes mean and 1/deviation of every channel's group, put
/// together in float64 as of one population (Chan, Golub and LeVeque 1983); zero for a padded
/// channel.
/// @param mean,squares [padded channels]
void share_statistics(const ConvNetPlan::Block& block, double eps, float* mean, float* squares);

/// What Loops::affine_relu_pool_sums wrote becomes shift and slope as
/// Loops::affine_relu_pool_group_gradient takes them.
/// @param rstd [padded channels], from share_statistics  @param sum_g,sum_gd [padded channels]
void share_gradient_sums(const ConvNetPlan::Block& block, const float* rstd, float* sum_g,
                         float* sum_gd);

/// What Loops::norm_gradient_tangent_sums wrote becomes the means that
/// Loops::norm_relu_pool_group_gradient_tangent takes.
/// @param trstd,tweight [padded channels], derivatives of rstd and the norm's weight
/// @param sums [4][padded channels]
void share_tangent_sums(const ConvNetPlan::Block& block, const float* rstd, const float* trstd,
                        const float* tweight, float* sums);

}  // namespace retort::kernels
