#include "tests/bench/plain_convnet.h"

#include "lib/core/parallel.h"

namespace retort::bench {
namespace {

constexpr double kEps = 1e-5;
constexpr std::size_t kPerBlock = 4;  // convolution weight and bias, norm weight and bias

Tensors converted(const Tensors& tensors, at::ScalarType dtype) {
  Tensors result;
  for (const Tensor& t : tensors) result.push_back(t.detach().to(dtype, false, /*copy=*/true));
  return result;
}

}  // namespace

std::string style_name(Style style) { return style == Style::Papers ? "papers" : "best"; }

PlainResult PlainResult::rows(std::int64_t first, std::int64_t count) const {
  PlainResult part;
  part.embedding = embedding.narrow(0, first, count);
  for (const Tensor& a : activation) part.activation.push_back(a.narrow(0, first, count));
  return part;
}

Tensor plain_relu(const Tensor& x, double threshold) {
  return threshold == 0 ? at::relu(x) : x * x.detach().gt(threshold);
}

PlainResult plain_convnet(const nn::Network& like, const nn::NetworkState& state, const Tensor& x,
                          const PlainOptions& options) {
  const auto& p = state.parameters;
  const std::size_t depth = p.size() / kPerBlock;
  PlainResult result;
  Tensor map = x;
  for (std::size_t b = 0; b < depth; ++b) {
    const std::size_t at = kPerBlock * b;
    const std::int64_t padding = b == 0 && like.input().channels == 1 ? 3 : 1;
    map = at::conv2d(map, p[at], p[at + 1], 1, padding);
    if (options.looks_at_statistics) {
      const auto [variance, mean] = at::var_mean(map, at::IntArrayRef{0, 2, 3}, /*correction=*/0);
      result.mean.push_back(mean);
      result.variance.push_back(variance);
    }
    if (like.has_batch_norm()) {
      map =
          at::batch_norm(map, p[at + 2], p[at + 3], state.buffers[2 * b], state.buffers[2 * b + 1],
                         !options.looks_at_statistics, 0.1, kEps, false);
    } else {
      map = at::group_norm(map, map.size(1), p[at + 2], p[at + 3], kEps);
    }
    map = plain_relu(map, options.relu_threshold);
    if (options.activation_maps) result.activation.push_back(map);
    map = at::avg_pool2d(map, 2, 2);
  }
  result.embedding = map.flatten(1);
  if (options.logits) {
    result.logits = at::linear(result.embedding, p[p.size() - 2], p[p.size() - 1]);
  }
  return result;
}

std::vector<Chunk> chunks_of(std::int64_t images, Style style, std::int64_t largest) {
  if (style == Style::Papers || images <= largest) return {{0, images}};
  // An even number of nearly equal ones leaves no core without work.
  const std::int64_t count = ((images + largest - 1) / largest + 1) / 2 * 2;
  std::vector<Chunk> chunks;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t first = images * i / count;
    chunks.push_back({first, images * (i + 1) / count - first});
  }
  return chunks;
}

void for_each(Style style, std::int64_t tasks, const std::function<void(std::int64_t)>& body) {
  // A single task keeps to this thread, so that what it consists of can use the cores.
  if (style == Style::Best && tasks > 1) return parallel_tasks(tasks, body);
  for (std::int64_t task = 0; task < tasks; ++task) body(task);
}

Tensor plain_features(Style style, const nn::Network& like, const nn::NetworkState& state,
                      const Tensor& images) {
  const at::NoGradGuard no_grad;
  const auto chunks = chunks_of(images.size(0), style);
  Tensors parts(chunks.size());
  for_each(style, std::int64_t(chunks.size()), [&](std::int64_t i) {
    const Chunk& chunk = chunks[std::size_t(i)];
    parts[std::size_t(i)] =
        plain_convnet(like, state, images.narrow(0, chunk.first, chunk.count), {.logits = false})
            .embedding;
  });
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

nn::NetworkState in_float64(const nn::NetworkState& state) {
  return {converted(state.parameters, at::kDouble), converted(state.buffers, at::kDouble)};
}

nn::NetworkState with_leaves(const nn::NetworkState& state) {
  nn::NetworkState leaves{{}, state.buffers};
  for (const Tensor& p : state.parameters) {
    leaves.parameters.push_back(p.detach().requires_grad_());
  }
  return leaves;
}

}  // namespace retort::bench
