#pragma once
// Networks put together from parts, each a function from map to map: those of decoupled methods,
// with BatchNorm beside convolutions without bias, average pooling over the whole last map and one
// linear layer. Dropout and drop-connect are left out: in training too these networks are what the
// papers' are in evaluation. Internal to lib/nn.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/nn/layers.h"

namespace retort::nn {

/// Knows the places of its parameters; [N,C,h,w] to [N,C',h',w'].
using Part = std::function<Tensor(const ForwardPass& pass, const Tensor& x)>;

/// One part after the other.
Part sequence(std::vector<Part> parts);

/// Convolution, then BatchNorm.
struct ConvNorm {
  Convolution convolution;
  Normalization normalization;
};
/// @param options without bias, whatever they say
ConvNorm add_conv_norm(Plan& plan, const std::string& convolution, const std::string& norm,
                       ConvolutionOptions options);
Tensor apply(const ConvNorm& layer, const ForwardPass& pass, const Tensor& x);

/// BatchNorm, ReLU, then convolution without bias.
struct NormConv {
  Normalization normalization;
  Convolution convolution;
};
/// @param options without bias, whatever they say
NormConv add_norm_conv(Plan& plan, const std::string& norm, const std::string& convolution,
                       ConvolutionOptions options);
Tensor apply(const NormConv& layer, const ForwardPass& pass, const Tensor& x);

/// A convolution without bias alone, as a stem. @param options without bias, whatever they say
Part add_bare_convolution(Plan& plan, const std::string& name, ConvolutionOptions options);
/// BatchNorm and ReLU alone, as behind the last block.
Part add_norm_relu(Plan& plan, const std::string& name);

ConvolutionOptions pointwise(std::int64_t channels, std::int64_t groups = 1);  ///< 1x1
/// Every channel for itself; keeps the map's size at stride 1.
ConvolutionOptions depthwise(std::int64_t channels, std::int64_t stride, std::int64_t kernel = 3);

/// Channels dealt out in turn, so that each of `groups` gets some of all.
/// [N, g * C/g, h, w] -> [N, C/g * g, h, w]
Tensor shuffle_channels(const Tensor& x, std::int64_t groups);

/// @param plan as `body` left it  @param body the last map, before pooling
/// @param classifier name of the linear layer
std::unique_ptr<Network> make_pooled(Plan plan, Part body, const std::string& classifier,
                                     std::int64_t num_classes);

}  // namespace retort::nn
