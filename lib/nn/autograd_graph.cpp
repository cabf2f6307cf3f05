#include "lib/nn/autograd_graph.h"

#include <set>
#include <utility>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kMostImages = 32;   // of a chunk
constexpr std::int64_t kFewestToCut = 16;  // that are cut at all

std::int64_t chunk_count(const Tensor& x) {
  const std::int64_t n = x.size(0);
  if (!x.is_cpu() || n < kFewestToCut) return 1;
  return 2 * ((n + 2 * kMostImages - 1) / (2 * kMostImages));
}

Tensor leaf(const Tensor& values) { return values.detach().requires_grad_(); }

/// Adds `terms` to `sums`, which may be empty still.
void add_to(Tensors& sums, const Tensors& terms) {
  if (sums.empty()) {
    for (const Tensor& t : terms) sums.push_back(t.detach().clone());
    return;
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i].add_(terms[i].detach());
}

/// Joins what every chunk has of it, in order.
Tensor joined(const std::vector<LossProducts>& parts, Tensor LossProducts::*member) {
  if (parts.size() == 1 || !(parts[0].*member).defined()) return parts[0].*member;
  Tensors rows;
  for (const LossProducts& part : parts) rows.push_back(part.*member);
  return at::cat(rows);
}

/// Bytes of the results of every operation that `outputs` come from, each counted once.
std::int64_t recorded_bytes(const Tensors& outputs) {
  std::set<const torch::autograd::Node*> known;
  std::vector<torch::autograd::Node*> open;
  const auto visit = [&](torch::autograd::Node* node) {
    if (node && node->num_outputs() > 0 && known.insert(node).second) open.push_back(node);
  };
  for (const Tensor& t : outputs) visit(t.grad_fn().get());
  std::int64_t sum = 0;
  while (!open.empty()) {
    const torch::autograd::Node* node = open.back();
    open.pop_back();
    for (std::uint32_t i = 0; i < node->num_inputs(); ++i) {
      const auto& result = node->input_metadata(i);
      if (result.is_nested_tensor()) continue;
      std::int64_t entries = 1;
      for (const c10::SymInt& size : result.shape_as_dim_vector()) entries *= size.expect_int();
      sum += entries * std::int64_t(result.dtype().itemsize());
    }
    for (const auto& edge : node->next_edges()) visit(edge.function.get());
  }
  return sum;
}

}  // namespace

AutogradGraph::AutogradGraph(const Network& network, const NetworkState& state, const Tensor& x,
                             const Tensor& targets, LossUse use) {
  NetworkState own = {state.parameters, {}};
  for (const Tensor& buffer : state.buffers) own.buffers.push_back(buffer.detach().clone());
  const std::int64_t n = x.size(0);
  const std::int64_t chunks = chunk_count(x);
  chunks_.resize(std::size_t(chunks));
  parallel_tasks(chunks, [&](std::int64_t chunk) {
    const std::int64_t first = n * chunk / chunks;
    const std::int64_t count = n * (chunk + 1) / chunks - first;
    chunks_[std::size_t(chunk)] =
        make_chunk(network, own, x.detach().narrow(0, first, count),
                   targets.detach().narrow(0, first, count), n, use.products);
  });
  for (const Chunk& chunk : chunks_) {
    loss_ += chunk.loss;
    if (use.gradients) add_to(gradients_, chunk.gradients);
    if (use.products) bytes_ += recorded_bytes(chunk.gradients);
  }
  if (!use.products) chunks_.clear();
}

AutogradGraph::Chunk AutogradGraph::make_chunk(const Network& network, const NetworkState& state,
                                               const Tensor& x, const Tensor& targets,
                                               std::int64_t images, bool products) const {
  const at::AutoGradMode gradients(true);
  Chunk chunk{leaf(x), leaf(targets), {}, {}, 0};
  for (const Tensor& p : state.parameters) chunk.parameters.push_back(leaf(p));
  const Tensor logits =
      network.forward({chunk.parameters, state.buffers}, chunk.x, {.second_order = true}).logits;
  const Tensor loss = -(chunk.targets * logits.log_softmax(1)).sum() / double(images);
  chunk.loss = loss.item<double>();
  // With a graph for gradients alone too: without one LibTorch takes other operations in places,
  // and bits would depend on the use.
  chunk.gradients = torch::autograd::grad({loss}, chunk.parameters, {}, /*retain_graph=*/true,
                                          /*create_graph=*/true);
  if (products) return chunk;
  for (Tensor& gradient : chunk.gradients) gradient = gradient.detach();
  return {.x = {},
          .targets = {},
          .parameters = {},
          .gradients = std::move(chunk.gradients),
          .loss = chunk.loss};
}

LossProducts AutogradGraph::products(const Tensors& directions, const WantedProducts& wanted) {
  kernels::expect_products_left(!chunks_.empty());
  kernels::expect_directions(directions, chunks_[0].parameters);
  std::vector<Chunk> chunks = std::exchange(chunks_, {});
  bytes_ = 0;
  std::vector<LossProducts> parts(chunks.size());
  parallel_tasks(std::int64_t(chunks.size()), [&](std::int64_t i) {
    parts[std::size_t(i)] = chunk_products(chunks[std::size_t(i)], directions, wanted);
    chunks[std::size_t(i)] = {};
  });
  LossProducts result;
  result.images = joined(parts, &LossProducts::images);
  result.targets = joined(parts, &LossProducts::targets);
  for (const LossProducts& part : parts) {
    result.along += part.along;
    add_to(result.parameters, part.parameters);
  }
  return result;
}

LossProducts AutogradGraph::chunk_products(const Chunk& chunk, const Tensors& directions,
                                           const WantedProducts& wanted) const {
  LossProducts result;
  Tensors outputs;
  Tensors cotangents;
  for (std::size_t i = 0; i < chunk.gradients.size(); ++i) {
    result.along +=
        (chunk.gradients[i].detach() * directions[i].detach()).sum(at::kDouble).item<double>();
    if (!chunk.gradients[i].requires_grad()) continue;
    outputs.push_back(chunk.gradients[i]);
    cotangents.push_back(directions[i].detach());
  }
  Tensors inputs;
  if (wanted.images) inputs.push_back(chunk.x);
  if (wanted.targets) inputs.push_back(chunk.targets);
  if (wanted.parameters) {
    inputs.insert(inputs.end(), chunk.parameters.begin(), chunk.parameters.end());
  }
  if (inputs.empty()) return result;
  Tensors found = torch::autograd::grad(outputs, inputs, cotangents, /*retain_graph=*/false,
                                        /*create_graph=*/false, /*allow_unused=*/true);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!found[i].defined()) found[i] = at::zeros_like(inputs[i]).detach();
  }
  auto next = found.begin();
  if (wanted.images) result.images = *next++;
  if (wanted.targets) result.targets = *next++;
  result.parameters.assign(next, found.end());
  return result;
}

}  // namespace retort::nn
