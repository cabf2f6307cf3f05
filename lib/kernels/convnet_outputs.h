#pragma once
// A whole ConvNet with ReLU and average pooling, with InstanceNorm, GroupNorm or BatchNorm, from
// images to features and to the attention of every block.

#include <span>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/convnet_forward.h"
#include "lib/kernels/convnet_statistics.h"

namespace retort::kernels {

enum class ConvNetNorm {
  Instance,    ///< by each image's own; also GroupNorm, where the shape has groups
  BatchTrain,  ///< by the batch's statistics, and the running ones move towards them
  BatchEval,   ///< by the running statistics
};

struct ConvNetRun {
  ConvNetShape shape;
  ConvNetNorm norm = ConvNetNorm::Instance;
  double momentum = 0.1;       ///< of the running statistics
  double attention_power = 0;  ///< 0: no attention
  /// BatchEval: the batch's own statistics at the input of every norm, which are looked at only.
  bool statistics = false;
  std::int64_t statistics_group = 0;  ///< of every so many consecutive images; 0: of all
};

struct ConvNetOutputs {
  Tensor features;    ///< [N,F], channel-major like flatten(1)
  Tensors attention;  ///< attention_sums of every block's [N,C,h,w]; empty if not asked for
  std::vector<ChannelStatistics> statistics;  ///< of every block; empty if not asked for
};

/// Whether the fast path serves this input: what serves_convnet_features says, an attention power
/// of 1, 2 or 4 or none, and float32 running statistics on the CPU.
bool serves_convnet_outputs(const Tensor& x, std::span<const Tensor> parameters,
                            std::span<const Tensor> buffers, const ConvNetRun& run);

/// Goes to the reference where the fast path does not serve. InstanceNorm, GroupNorm and BatchNorm
/// in evaluation go block by block through images that stay in cache, and no map leaves a block
/// unless a gradient will need it; BatchNorm in training goes layer by layer. Differentiable in x
/// and every parameter, once; under create_graph the gradient is the reference's.
/// In training the results have the same bits on any number of threads.
/// @param x           [N,C,H,W]
/// @param parameters  as for convnet_features
/// @param buffers     BatchNorm only: running mean and variance [O] of every block
/// @throws ConfigError for BatchNorm with groups of channels, and for statistics without BatchEval
ConvNetOutputs convnet_outputs(const Tensor& x, std::span<const Tensor> parameters,
                               std::span<const Tensor> buffers, const ConvNetRun& run);

/// The same in plain LibTorch operations, any dtype and power, differentiable twice.
ConvNetOutputs convnet_outputs_reference(const Tensor& x, std::span<const Tensor> parameters,
                                         std::span<const Tensor> buffers, const ConvNetRun& run);

/// For a caller that computes layer by layer what the fast path does not serve.
void count_convnet_fallback(const ConvNetRun& run);

/// Sums over channels of |map|^power.  @param maps [N,C,h,w], any dtype  @return [N,h*w]
Tensor attention_sums(const Tensor& maps, double power);

}  // namespace retort::kernels
