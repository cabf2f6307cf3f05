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
    case Init::UniformFanIn:
      break;
  }
  const double bound = 1.0 / std::sqrt(double(info.fan_in));
  return rng.child(info.name).uniform_tensor(info.shape, -bound, bound);
}

/// The graph that LibTorch's autograd keeps.
class AutogradLossGraph : public LossGraph {
 public:
  AutogradLossGraph(const Network& network, const NetworkState& state, const Tensor& x,
                    const Tensor& targets)
      : x_(x.detach().requires_grad_()), targets_(targets.detach().requires_grad_()) {
    const at::AutoGradMode gradients(true);
    NetworkState leaves{{}, state.buffers};
    for (const Tensor& p : state.parameters) parameters_.push_back(p.detach().requires_grad_());
    leaves.parameters = parameters_;
    const Tensor logits = network.forward(leaves, x_, {.second_order = true}).logits;
    const Tensor loss = -(targets_ * logits.log_softmax(1)).sum() / double(x.size(0));
    loss_ = loss.item<double>();
    graph_ = torch::autograd::grad({loss}, parameters_, {}, true, /*create_graph=*/true);
    for (const Tensor& g : graph_) gradients_.push_back(g.detach());
    bytes_ = x.size(0) * network.macs() * std::int64_t(x.element_size()) / kMacsPerKept;
  }

  double loss() const override { return loss_; }
  const Tensors& gradients() const override { return gradients_; }
  std::int64_t bytes() const override { return bytes_; }

  LossProducts products(const Tensors& directions, const WantedProducts& wanted) override {
    if (graph_.empty()) throw Error("the products of a loss graph can be taken once");
    const Tensors graph = std::move(graph_);
    graph_.clear();
    Tensors inputs;
    if (wanted.images) inputs.push_back(x_);
    if (wanted.targets) inputs.push_back(targets_);
    if (wanted.parameters) inputs.insert(inputs.end(), parameters_.begin(), parameters_.end());
    LossProducts result;
    if (inputs.empty()) return result;
    Tensors found = torch::autograd::grad(graph, inputs, directions, false, false,
                                          /*allow_unused=*/true);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!found[i].defined()) found[i] = at::zeros_like(inputs[i].detach());
    }
    auto next = found.begin();
    if (wanted.images) result.images = *next++;
    if (wanted.targets) result.targets = *next++;
    result.parameters.assign(next, found.end());
    return result;
  }

 private:
  // ConvNet-3 at 32x32 keeps one number in so many multiply-accumulates of its forward pass.
  static constexpr std::int64_t kMacsPerKept = 70;

  Tensor x_;
  Tensor targets_;
  Tensors parameters_;
  double loss_ = 0;
  Tensors graph_;  // gradients with their graph; empty once the products were taken
  Tensors gradients_;
  std::int64_t bytes_ = 0;
};

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
                                               const Tensor& targets) const {
  expect_matching(state, x);
  kernels::count(&kernels::Counters::gradient_fallback);
  return std::make_unique<AutogradLossGraph>(*this, state, x, targets);
}

void Network::expect_matching(const NetworkState& state, const Tensor& x) const {
  expect_shape(x, {-1, input_.channels, input_.height, input_.width}, "input of " + name_);
  if (state.parameters.size() != parameters_.size() || state.buffers.size() != buffers_.size()) {
    throw ConfigError(str("network '", name_, "' takes ", parameters_.size(), " parameters and ",
                          buffers_.size(), " buffers, found ", state.parameters.size(), " and ",
                          state.buffers.size()));
  }
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
