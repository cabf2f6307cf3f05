#pragma once
// The opponent's network: ConvNet in one LibTorch operation per layer, in two styles of use. It
// shares with the library what decides which numbers come out (draws, initial parameters, the
// augmentation), and nothing of how they are computed.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::bench {

enum class Style {
  Papers,  ///< as the papers' code: one class after the other, whole batches, LibTorch's threads
  /// LibTorch at its best: chunks that stay in cache, one per core where images are independent,
  /// and no graph, gradient or layer that nobody needs.
  Best,
};
/// "papers", "best".
std::string style_name(Style style);
inline constexpr Style kStyles[] = {Style::Papers, Style::Best};

struct PlainOptions {
  bool logits = true;
  bool activation_maps = false;
  double relu_threshold = 0;  ///< other than 0: inputs above it pass, see check.h
  /// BatchNorm in evaluation mode, beside which the batch's own statistics are returned.
  bool looks_at_statistics = false;
};

struct PlainResult {
  Tensor logits;       ///< [N,K]
  Tensor embedding;    ///< [N,F]
  Tensors activation;  ///< per block [N,C,h,w], before pooling
  Tensors mean;        ///< per block [C], where asked for
  Tensors variance;    ///< biased

  /// Rows first .. first+count-1 of embedding and activations.
  PlainResult rows(std::int64_t first, std::int64_t count) const;
};

/// ConvNet-D with InstanceNorm (as GroupNorm, like the papers' code) or BatchNorm, training mode if
/// nothing else is asked for, any dtype, differentiable twice.
PlainResult plain_convnet(const nn::Network& like, const nn::NetworkState& state, const Tensor& x,
                          const PlainOptions& options = {});

Tensor plain_relu(const Tensor& x, double threshold);

/// At most 32 images each in the style Best, all images in the style Papers.
struct Chunk {
  std::int64_t first = 0;
  std::int64_t count = 0;
};
std::vector<Chunk> chunks_of(std::int64_t images, Style style, std::int64_t largest = 32);

/// body(0) .. body(tasks-1), in the style Best one per core.
void for_each(Style style, std::int64_t tasks, const std::function<void(std::int64_t)>& body);

/// Embeddings of images, without a graph.  @return [N,F]
Tensor plain_features(Style style, const nn::Network& like, const nn::NetworkState& state,
                      const Tensor& images);

/// A copy in float64.
nn::NetworkState in_float64(const nn::NetworkState& state);

/// The parameters as leaves that record a graph.
nn::NetworkState with_leaves(const nn::NetworkState& state);

}  // namespace retort::bench
