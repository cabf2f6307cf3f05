#pragma once
// Several ConvNets trained as one, side by side on the channel axis: grouped convolutions, a norm
// per channel, the classifiers as one batched product. Exact for InstanceNorm and for BatchNorm,
// whose statistics are per channel.

#include <cstdint>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"
#include "tests/bench/plain_convnet.h"
#include "tests/bench/plain_gradients.h"

namespace retort::bench {

/// Parameters with a leading axis of networks: [S,...]. BatchNorm's running statistics are not
/// followed: training does not read them.
Tensors stack_parameters(const std::vector<nn::NetworkState>& states);

/// Training mode. @param x [S,N,C,H,W], each network's own images  @return logits [S,N,K]
Tensor stacked_logits(const nn::Network& like, const Tensors& parameters, const Tensor& x);

/// Of the mean cross-entropies, each network's own, by plain operations in chunks that stay in
/// cache. @param labels int64 [S,N]  @return in the order of the parameters [S,...]
Tensors stacked_gradients(const nn::Network& like, const Tensors& parameters, const Tensor& x,
                          const Tensor& labels);

/// Gradient matching of all classes in one pass: a copy of the parameters for each, so that one
/// call gives the gradients of every class. Equally many images in every class.
ImageGradient one_pass_image_gradients(const nn::Network& like, const nn::NetworkState& state,
                                       const std::vector<ClassImages>& classes);

}  // namespace retort::bench
