#pragma once
// Norms whose statistics the channels of a group share (GroupNorm; InstanceNorm in groups of one),
// of one image; not for use outside this folder.

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
/// Loops::affine_relu_pool_gradient takes them. A channel with statistics of its own is a group of
/// one.
/// @param rstd [padded channels]  @param sum_g,sum_gd [padded channels]
void share_gradient_sums(const ConvNetPlan::Block& block, const float* rstd, float* sum_g,
                         float* sum_gd);

}  // namespace retort::kernels
