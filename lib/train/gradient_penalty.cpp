#include "lib/train/gradient_penalty.h"

#include <vector>

#include <torch/csrc/autograd/autograd.h>

#include "lib/train/chunks.h"

namespace retort::train {
namespace {

/// Of some images' share in the mean over `pixels` pixels.
GradientPenalty part_of_penalty(const nn::Network& network, const nn::NetworkState& state,
                                const Tensor& images, double pixels) {
  const at::AutoGradMode gradients_on(true);
  nn::NetworkState leaves{{}, state.detached_clone().buffers};
  for (const auto& p : state.parameters) leaves.parameters.push_back(p.detach().requires_grad_());
  const Tensor x = images.detach().requires_grad_();
  const Tensor logits =
      network.forward(leaves, x, {.mode = nn::Mode::Train, .second_order = true}).logits;
  const Tensor q = torch::autograd::grad({logits.sum()}, {x}, {}, /*retain_graph=*/true,
                                         /*create_graph=*/true)[0];
  const Tensor value =
      (at::norm(q, 2, at::IntArrayRef{1}, /*keepdim=*/false) - 1).square().sum() / pixels;
  GradientPenalty part{value.item<double>(), {}};
  part.gradients = torch::autograd::grad({value}, leaves.parameters, {}, /*retain_graph=*/false,
                                         /*create_graph=*/false, /*allow_unused=*/true);
  // The classifier's bias has no part in q.
  for (std::size_t i = 0; i < part.gradients.size(); ++i) {
    if (!part.gradients[i].defined()) part.gradients[i] = at::zeros_like(state.parameters[i]);
  }
  return part;
}

}  // namespace

GradientPenalty gradient_penalty(const nn::Network& network, const nn::NetworkState& state,
                                 const Tensor& images) {
  const double pixels = double(images.size(0) * images.size(2) * images.size(3));
  const std::int64_t chunks = chunks_of(network, images);
  if (chunks == 0) return part_of_penalty(network, state, images, pixels);
  std::vector<double> values(static_cast<std::size_t>(chunks));
  GradientPenalty result;
  result.gradients = sum_over_chunks(images.size(0), chunks, [&](const Chunk& chunk) {
    auto part = part_of_penalty(network, state, images.narrow(0, chunk.begin, chunk.count), pixels);
    values[std::size_t(chunk.number)] = part.value;
    return std::move(part.gradients);
  });
  for (const double value : values) result.value += value;
  return result;
}

}  // namespace retort::train
