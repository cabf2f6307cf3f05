#include "lib/nn/network.h"

#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/kernels/policy.h"
#include "lib/nn/autograd_graph.h"

namespace retort::nn {
namespace {

std::int64_t count(const ParameterInfo& info) {
  return std::accumulate(info.shape.begin(), info.shape.end(), std::int64_t{1},
                         std::multiplies<>());
}

std::vector<std::int64_t> counts(const std::vector<ParameterInfo>& layout) {
  std::vector<std::int64_t> result;
  result.reserve(layout.size());
  for (const auto& info : layout) result.push_back(count(info));
  return result;
}

Tensor fresh(const ParameterInfo& info, const Rng& rng) {
  switch (info.init) {
    case Init::One:
      return at::ones(info.shape, at::kFloat);
    case Init::Zero:
      return at::zeros(info.shape, at::kFloat);
    case Init::NormalFanOut: {
      const double fan_out = double(count(info) / info.shape[1]);
      return rng.child(info.name).normal_tensor(info.shape) * std::sqrt(2 / fan_out);
    }
    case Init::UniformFanIn:
      break;
  }
  const double bound = 1.0 / std::sqrt(double(info.fan_in));
  return rng.child(info.name).uniform_tensor(info.shape, -bound, bound);
}

}  // namespace

NetworkState NetworkState::detached_clone() const {
  NetworkState copy;
  copy.parameters.reserve(parameters.size());
  copy.buffers.reserve(buffers.size());
  for (const auto& p : parameters) copy.parameters.push_back(p.detach().clone());
  for (const auto& b : buffers) copy.buffers.push_back(b.detach().clone());
  return copy;
}

NetworkState NetworkState::to(at::Device device) const {
  return {to_device(parameters, device), to_device(buffers, device)};
}

Network::Network(std::string name, ImageShape input, std::int64_t num_classes)
    : name_(std::move(name)), input_(input), num_classes_(num_classes) {
  if (num_classes < 1) {
    throw ConfigError(
        str("network '", name_, "': there must be at least 1 class, found ", num_classes));
  }
}

std::int64_t Network::parameter_count() const {
  const auto sizes = counts(parameters_);
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
}

NetworkState Network::initialize(const Rng& rng, at::Device device) const {
  NetworkState state;
  state.parameters.reserve(parameters_.size());
  state.buffers.reserve(buffers_.size());
  for (const auto& info : parameters_) state.parameters.push_back(fresh(info, rng));
  for (const auto& info : buffers_) {
    state.buffers.push_back(at::full(info.shape, info.initial, at::kFloat));
  }
  return state.to(device);
}

Tensors Network::loss_gradients(const NetworkState& state, const Tensor& x,
                                const Tensor& targets) const {
  expect_matching(state, x, targets);
  kernels::count(&kernels::Counters::gradient_fallback);
  const at::AutoGradMode gradients(true);
  bool again = x.requires_grad() || targets.requires_grad();
  NetworkState leaves = state;
  for (Tensor& p : leaves.parameters) {
    if (p.requires_grad()) {
      again = true;
    } else {
      p = p.detach().requires_grad_();
    }
  }
  const Tensor logits = forward(leaves, x, {.second_order = again}).logits;
  const Tensor loss = -(targets * logits.log_softmax(1)).sum() / double(x.size(0));
  return torch::autograd::grad({loss}, leaves.parameters, {}, again, again);
}

std::unique_ptr<LossGraph> Network::loss_graph(const NetworkState& state, const Tensor& x,
                                               const Tensor& targets, LossUse use) const {
  expect_matching(state, x, targets);
  return make_loss_graph(state, x, targets, use);
}

std::unique_ptr<LossGraph> Network::make_loss_graph(const NetworkState& state, const Tensor& x,
                                                    const Tensor& targets, LossUse use) const {
  kernels::count(&kernels::Counters::gradient_fallback);
  return std::make_unique<AutogradGraph>(*this, state, x, targets, use);
}

void Network::expect_matching(const NetworkState& state, const Tensor& x) const {
  expect_shape(x, {-1, input_.channels, input_.height, input_.width}, "input of " + name_);
  if (state.parameters.size() != parameters_.size() || state.buffers.size() != buffers_.size()) {
    throw ConfigError(str("network '", name_, "' takes ", parameters_.size(), " parameters and ",
                          buffers_.size(), " buffers, found ", state.parameters.size(), " and ",
                          state.buffers.size()));
  }
}

void Network::expect_matching(const NetworkState& state, const Tensor& x,
                              const Tensor& targets) const {
  expect_matching(state, x);
  expect_shape(targets, {x.size(0), num_classes_}, "targets of " + name_);
}

Tensor flatten(const Tensors& parameters) {
  Tensors flat;
  flat.reserve(parameters.size());
  for (const auto& p : parameters) flat.push_back(p.reshape(-1));
  return at::cat(flat);
}

Tensors unflatten(const Tensor& flat, const std::vector<ParameterInfo>& layout) {
  const auto sizes = counts(layout);
  expect_shape(flat, {std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0})},
               "flat parameters");
  // One node in the graph for all pieces; narrow would fill a full-size gradient for each.
  Tensors parameters = flat.split_with_sizes(sizes);
  for (std::size_t i = 0; i < layout.size(); ++i) {
    parameters[i] = parameters[i].view(layout[i].shape);
  }
  return parameters;
}

}  // namespace retort::nn
