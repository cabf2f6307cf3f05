#pragma once
// Layers shared by all networks of this folder; internal to lib/nn. A layer holds its options and
// the position of its parameters in a NetworkState; building one records what it needs in a Plan.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::nn {

/// Added to the variance by every norm.
constexpr double kNormEps = 1e-5;
/// Of GroupNorm.
constexpr std::int64_t kNormGroups = 4;
/// Share of a batch's statistics in the running ones.
constexpr double kBatchNormMomentum = 0.1;

/// Collects parameters, buffers and cost while a network is put together layer by layer, and
/// follows the shape of one image's feature map.
struct Plan {
  Plan(std::string network_name, ImageShape input_shape);

  std::string network;  ///< for messages
  ImageShape input;
  ImageShape map;  ///< output of the layers added so far
  std::vector<ParameterInfo> parameters;
  std::vector<BufferInfo> buffers;
  std::int64_t macs = 0;
};

struct ConvolutionOptions {
  std::int64_t channels = 0;  ///< of the output
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 1;
  bool bias = true;
  std::int64_t groups = 1;  ///< of channels, convolved apart; divides those of input and output
  Init init = Init::UniformFanIn;  ///< of the weight
};

struct Convolution {
  std::size_t first_parameter = 0;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  bool bias = true;
  std::int64_t groups = 1;
};

struct Normalization {
  Norm norm = Norm::None;
  std::size_t first_parameter = 0;  ///< weight, then bias
  std::size_t first_buffer = 0;     ///< Batch only: running mean, then running variance
};

struct Linear {
  std::size_t first_parameter = 0;
};

/// One forward pass under way: what layers read, and what they may fill in.
struct ForwardPass {
  const NetworkState& state;
  const ForwardOptions& options;
  ForwardResult& result;
};

/// @throws ConfigError unless the plan's images have at least these sides
void expect_sides(const Plan& plan, std::int64_t smallest);
/// @throws ConfigError if the map is smaller than the kernel
Convolution add_convolution(Plan& plan, const std::string& name, const ConvolutionOptions& options);
/// @throws ConfigError for Norm::Group on a channel count that 4 does not divide, and for
///         Norm::Instance on a 1x1 map
Normalization add_normalization(Plan& plan, const std::string& name, Norm norm);
/// Non-overlapping pooling of side `size`; a partial window at the border is dropped.
/// @throws ConfigError if the map is smaller than `size`
void add_pooling(Plan& plan, const std::string& name, std::int64_t size);
/// Reads `features` values: the flattened map, or the output of an earlier linear layer.
Linear add_linear(Plan& plan, const std::string& name, std::int64_t features, std::int64_t outputs);

enum class Arithmetic {
  Plain,  ///< LibTorch's convolution, differentiable twice
  Fast,   ///< our kernel where it serves; its rounding adds up over many layers
};
Tensor apply(const Convolution& layer, const NetworkState& state, const Tensor& x,
             Arithmetic arithmetic = Arithmetic::Plain);
/// Leaves the statistics of BatchNorm's input in the result where they are asked for.
/// @throws ConfigError for BatchNorm on the batch statistics of a single value per channel
Tensor apply(const Normalization& layer, const ForwardPass& pass, const Tensor& x);
Tensor apply(const Linear& layer, const NetworkState& state, const Tensor& x);
Tensor activate(Activation activation, const Tensor& x);
/// 2x2, stride 2.
Tensor pool(Pooling pooling, const Tensor& x);

}  // namespace retort::nn
