#include "lib/nn/layers.h"

#include <utility>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/kernels/conv3x3.h"
#include "lib/kernels/policy.h"
#include "lib/nn/batch_norm.h"

namespace retort::nn {
namespace {

ConfigError too_small(const Plan& plan, const std::string& name, const std::string& needed,
                      const std::string& found) {
  return ConfigError(str("network '", plan.network, "': images of ", plan.input.channels, "x",
                         plan.input.height, "x", plan.input.width, " are too small: layer ", name,
                         " needs a map of at least ", needed, " and gets ", found));
}

void expect_map_fits(const Plan& plan, const std::string& name, std::int64_t height,
                     std::int64_t width, std::int64_t needed) {
  if (height >= needed && width >= needed) return;
  throw too_small(plan, name, str(needed, "x", needed), str(height, "x", width));
}

void add_scale_and_shift(Plan& plan, const std::string& name, std::vector<std::int64_t> shape) {
  plan.parameters.push_back({.name = name + ".weight", .shape = shape, .init = Init::One});
  plan.parameters.push_back(
      {.name = name + ".bias", .shape = std::move(shape), .init = Init::Zero});
}

}  // namespace

Plan::Plan(std::string network_name, ImageShape input_shape)
    : network(std::move(network_name)), input(input_shape), map(input_shape) {
  if (input.channels < 1 || input.height < 1 || input.width < 1) {
    throw ConfigError(str("network '", network, "': channels and sides of an image must be at ",
                          "least 1, found ", input.channels, "x", input.height, "x", input.width));
  }
}

void expect_sides(const Plan& plan, std::int64_t smallest) {
  if (plan.input.height >= smallest && plan.input.width >= smallest) return;
  throw ConfigError(str("network '", plan.network, "': images of ", plan.input.channels, "x",
                        plan.input.height, "x", plan.input.width,
                        " are too small: their sides must be at least ", smallest));
}

Convolution add_convolution(Plan& plan, const std::string& name,
                            const ConvolutionOptions& options) {
  const std::int64_t height = plan.map.height + 2 * options.padding;
  const std::int64_t width = plan.map.width + 2 * options.padding;
  expect_map_fits(plan, name, height, width, options.kernel);
  const Convolution layer{.first_parameter = plan.parameters.size(),
                          .stride = options.stride,
                          .padding = options.padding,
                          .bias = options.bias,
                          .groups = options.groups};
  const std::int64_t read = plan.map.channels / options.groups;  // channels, by one of the output
  const std::int64_t fan_in = read * options.kernel * options.kernel;
  plan.parameters.push_back({.name = name + ".weight",
                             .shape = {options.channels, read, options.kernel, options.kernel},
                             .init = options.init,
                             .fan_in = fan_in});
  if (options.bias) {
    plan.parameters.push_back(
        {.name = name + ".bias", .shape = {options.channels}, .fan_in = fan_in});
  }
  plan.map = {.channels = options.channels,
              .height = (height - options.kernel) / options.stride + 1,
              .width = (width - options.kernel) / options.stride + 1};
  plan.macs += plan.map.numel() * fan_in;
  return layer;
}

Normalization add_normalization(Plan& plan, const std::string& name, Norm norm) {
  const Normalization layer{
      .norm = norm, .first_parameter = plan.parameters.size(), .first_buffer = plan.buffers.size()};
  const std::int64_t channels = plan.map.channels;
  switch (norm) {
    case Norm::None:
      break;
    case Norm::Layer:
      add_scale_and_shift(plan, name, {channels, plan.map.height, plan.map.width});
      break;
    case Norm::Group:
      if (channels % kNormGroups != 0) {
        throw ConfigError(str("network '", plan.network, "': GroupNorm needs a channel count that ",
                              kNormGroups, " divides, found ", channels, " at layer ", name));
      }
      add_scale_and_shift(plan, name, {channels});
      break;
    case Norm::Instance:
      // A single value minus its own mean is zero: the image would be lost without a word.
      if (plan.map.height * plan.map.width == 1) {
        throw too_small(plan, name, "2 values", "1x1");
      }
      add_scale_and_shift(plan, name, {channels});
      break;
    case Norm::Batch:
      add_scale_and_shift(plan, name, {channels});
      plan.buffers.push_back({.name = name + ".running_mean", .shape = {channels}, .initial = 0});
      plan.buffers.push_back({.name = name + ".running_var", .shape = {channels}, .initial = 1});
      break;
  }
  return layer;
}

void add_pooling(Plan& plan, const std::string& name, std::int64_t size) {
  expect_map_fits(plan, name, plan.map.height, plan.map.width, size);
  plan.map.height /= size;
  plan.map.width /= size;
}

Linear add_linear(Plan& plan, const std::string& name, std::int64_t features,
                  std::int64_t outputs) {
  const Linear layer{.first_parameter = plan.parameters.size()};
  plan.parameters.push_back(
      {.name = name + ".weight", .shape = {outputs, features}, .fan_in = features});
  plan.parameters.push_back({.name = name + ".bias", .shape = {outputs}, .fan_in = features});
  plan.macs += features * outputs;
  return layer;
}

Tensor apply(const Convolution& layer, const NetworkState& state, const Tensor& x,
             Arithmetic arithmetic) {
  const Tensor& weight = state.parameters[layer.first_parameter];
  const Tensor bias = layer.bias ? state.parameters[layer.first_parameter + 1] : Tensor();
  const bool fast = arithmetic == Arithmetic::Fast && layer.stride == 1 && layer.groups == 1;
  if (fast && kernels::serves_conv3x3(x, weight, layer.padding)) {
    return kernels::conv3x3(x, weight, bias, layer.padding);
  }
  kernels::count(&kernels::Counters::conv_fallback);
  return at::conv2d(x, weight, bias, layer.stride, layer.padding, /*dilation=*/1, layer.groups);
}

Tensor apply(const Normalization& layer, const ForwardPass& pass, const Tensor& x) {
  if (layer.norm == Norm::None) return x;
  const Tensor& weight = pass.state.parameters[layer.first_parameter];
  const Tensor& bias = pass.state.parameters[layer.first_parameter + 1];
  switch (layer.norm) {
    case Norm::None:
      break;
    case Norm::Batch:
      return batch_norm(layer, pass, x);
    case Norm::Layer:
      return at::layer_norm(x, weight.sizes(), weight, bias, kNormEps);
    case Norm::Instance:
      // One group per channel; several times faster forward than at::instance_norm in NCHW.
      return at::group_norm(x, x.size(1), weight, bias, kNormEps);
    case Norm::Group:
      return at::group_norm(x, kNormGroups, weight, bias, kNormEps);
  }
  return x;
}

Tensor apply(const Linear& layer, const NetworkState& state, const Tensor& x) {
  return at::linear(x, state.parameters[layer.first_parameter],
                    state.parameters[layer.first_parameter + 1]);
}

Tensor activate(Activation activation, const Tensor& x) {
  switch (activation) {
    case Activation::Relu:
      return at::relu(x);
    case Activation::LeakyRelu:
      return at::leaky_relu(x, 0.01);
    case Activation::Sigmoid:
      return at::sigmoid(x);
    case Activation::Swish:
      return at::silu(x);
  }
  return x;
}

Tensor pool(Pooling pooling, const Tensor& x) {
  switch (pooling) {
    case Pooling::None:
      return x;
    case Pooling::Max:
      return at::max_pool2d(x, 2, 2);
    case Pooling::Average:
      return at::avg_pool2d(x, 2, 2);
  }
  return x;
}

}  // namespace retort::nn
