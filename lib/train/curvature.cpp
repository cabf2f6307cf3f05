#include "lib/train/curvature.h"

#include <cmath>
#include <vector>

#include <torch/csrc/autograd/autograd.h>

#include "lib/train/chunks.h"
#include "lib/train/supervised.h"

namespace retort::train {
namespace {

/// Where a gradient vanishes, so that neither division nor norm blows up.
constexpr double kGuard = 1e-7;

nn::NetworkState with_leaves(const nn::NetworkState& state) {
  nn::NetworkState leaves{{}, state.buffers};
  for (const auto& p : state.parameters) leaves.parameters.push_back(p.detach().requires_grad_());
  return leaves;
}

/// The share of some images in the mean over a batch of `count`.
Tensor loss_share(const nn::Network& network, const nn::NetworkState& state, const Tensor& images,
                  const Tensor& targets, std::int64_t count) {
  const Tensor logits = network.forward(state, images, {.second_order = true}).logits;
  return -(targets * logits.log_softmax(1)).sum() / double(count);
}

Tensor steps_of(const nn::Network& network, const nn::NetworkState& state, const Tensor& images,
                const Tensor& targets, std::int64_t count, double h) {
  const at::AutoGradMode gradients_on(true);
  const Tensor x = images.detach().requires_grad_();
  const Tensor g = torch::autograd::grad({loss_share(network, state, x, targets, count)}, {x})[0];
  const Tensor length = g.flatten(1).norm(2, 1).view({-1, 1, 1, 1});
  return h * (g + kGuard) / (length + kGuard);
}

/// Every parameter that has no part in `value` has gradient 0.
Tensors parameter_gradients(const Tensor& value, const nn::NetworkState& leaves) {
  Tensors gradients = torch::autograd::grad({value}, leaves.parameters, {}, /*retain_graph=*/false,
                                            /*create_graph=*/false, /*allow_unused=*/true);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) gradients[i] = at::zeros_like(leaves.parameters[i]);
  }
  return gradients;
}

struct Part {
  double value = 0;  ///< not weighted; of the simplified form the signed difference
  Tensors gradients;
};

Part part_of(const nn::Network& network, const nn::NetworkState& state, const Tensor& images,
             const Tensor& targets, std::int64_t count, const Curvature& curvature) {
  const Tensor z = steps_of(network, state, images, targets, count, curvature.h);
  const at::AutoGradMode gradients_on(true);
  const nn::NetworkState leaves = with_leaves(state);
  const Tensor x = images.detach().requires_grad_();
  const Tensor difference = loss_share(network, leaves, x + z, targets, count) -
                            loss_share(network, leaves, x, targets, count);
  Tensor value = difference;
  if (curvature.kind == Curvature::Kind::Full) {
    const Tensor turn = torch::autograd::grad({difference}, {x}, {}, /*retain_graph=*/true,
                                              /*create_graph=*/true)[0];
    value = turn.flatten(1).norm(2, 1).sum() / double(count);
  }
  Part part{value.item<double>(), {}};
  part.gradients = parameter_gradients(value, leaves);
  return part;
}

}  // namespace

Tensor curvature_steps(const nn::Network& network, const nn::NetworkState& state,
                       const Tensor& images, const Tensor& targets, double h) {
  return steps_of(network, state, images, targets.to(images.device()), images.size(0), h);
}

CurvaturePenalty curvature_penalty(const nn::Network& network, const nn::NetworkState& state,
                                   const Tensor& images, const Tensor& targets_in,
                                   const Curvature& curvature) {
  const Tensor targets = targets_in.to(images.device());
  const std::int64_t count = images.size(0);
  // On its running statistics BatchNorm, too, takes images one by one.
  const std::int64_t chunks = images.is_cpu() ? gradient_chunks(count) : 1;
  std::vector<double> values(static_cast<std::size_t>(chunks));
  CurvaturePenalty result;
  result.gradients = sum_over_chunks(count, chunks, [&](const Chunk& chunk) {
    const auto rows = [&](const Tensor& t) { return t.narrow(0, chunk.begin, chunk.count); };
    Part part = part_of(network, state, rows(images), rows(targets), count, curvature);
    values[std::size_t(chunk.number)] = part.value;
    return std::move(part.gradients);
  });
  for (const double value : values) result.value += value;
  const bool full = curvature.kind == Curvature::Kind::Full;
  const double sign = full || result.value >= 0 ? 1 : -1;
  for (Tensor& g : result.gradients) g.mul_(curvature.weight * sign);
  result.value = curvature.weight * std::abs(result.value);
  return result;
}

}  // namespace retort::train
