#include "tests/bench/stacked.h"

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>

namespace retort::bench {
namespace {

constexpr double kEps = 1e-5;
constexpr std::size_t kPerBlock = 4;  // convolution weight and bias, norm weight and bias

Tensors chunk_gradients(const nn::Network& like, const Tensors& parameters, const Tensor& x,
                        const Tensor& labels, std::int64_t batch) {
  const at::AutoGradMode gradients_on(true);
  Tensors leaves;
  for (const Tensor& p : parameters) leaves.push_back(p.detach().requires_grad_());
  const Tensor log_p = stacked_logits(like, leaves, x).log_softmax(2);
  const Tensor loss = -log_p.gather(2, labels.unsqueeze(2)).sum() / double(batch);
  return torch::autograd::grad({loss}, leaves);
}

/// The weights among stacked parameters or their gradients, all output rows of all networks joined.
Tensors joined_matrices(const Tensors& stacked) {
  Tensors result;
  for (const Tensor& p : stacked) {
    if (p.dim() >= 3) result.push_back(p.flatten(0, 1));
  }
  return result;
}

struct ClassBatches {
  Tensor images;  ///< [K,N,C,H,W]
  Tensor labels;  ///< int64 [K,N]
};

ClassBatches stack_classes(const std::vector<ClassImages>& classes, Tensor ClassImages::*half) {
  Tensors images;
  Tensors labels;
  for (const ClassImages& own : classes) {
    images.push_back(own.*half);
    labels.push_back(at::full({(own.*half).size(0)}, own.label, at::kLong));
  }
  return {at::stack(images), at::stack(labels)};
}

}  // namespace

Tensors stack_parameters(const std::vector<nn::NetworkState>& states) {
  Tensors stacked;
  for (std::size_t p = 0; p < states[0].parameters.size(); ++p) {
    Tensors same;
    for (const auto& state : states) same.push_back(state.parameters[p].detach());
    stacked.push_back(at::stack(same));
  }
  return stacked;
}

Tensor stacked_logits(const nn::Network& like, const Tensors& parameters, const Tensor& x) {
  const std::int64_t networks = x.size(0);
  const std::int64_t n = x.size(1);
  const std::size_t depth = parameters.size() / kPerBlock;
  Tensor map = x.transpose(0, 1).flatten(1, 2);  // [N,S*C,H,W]
  for (std::size_t b = 0; b < depth; ++b) {
    Tensors p;
    for (std::size_t i = 0; i < kPerBlock; ++i) {
      p.push_back(parameters[kPerBlock * b + i].flatten(0, 1));
    }
    const std::int64_t padding = b == 0 && like.input().channels == 1 ? 3 : 1;
    map = at::conv2d(map, p[0], p[1], 1, padding, 1, networks);
    map = like.has_batch_norm() ? at::batch_norm(map, p[2], p[3], {}, {}, true, 0.1, kEps, false)
                                : at::group_norm(map, map.size(1), p[2], p[3], kEps);
    map = at::avg_pool2d(at::relu(map), 2, 2);
  }
  const Tensor features = map.reshape({n, networks, -1}).transpose(0, 1);  // [S,N,F]
  const Tensor& weight = parameters[parameters.size() - 2];
  return at::baddbmm(parameters.back().unsqueeze(1), features, weight.transpose(1, 2));
}

Tensors stacked_gradients(const nn::Network& like, const Tensors& parameters, const Tensor& x,
                          const Tensor& labels) {
  const std::int64_t n = x.size(1);
  const std::int64_t in_cache = std::max<std::int64_t>(1, 32 / x.size(0));
  const auto chunks = chunks_of(n, Style::Best, like.has_batch_norm() ? n : in_cache);
  std::vector<Tensors> parts(chunks.size());
  for_each(Style::Best, std::int64_t(chunks.size()), [&](std::int64_t i) {
    const auto& [first, count] = chunks[std::size_t(i)];
    parts[std::size_t(i)] = chunk_gradients(like, parameters, x.narrow(1, first, count),
                                            labels.narrow(1, first, count), n);
  });
  for (std::size_t i = 1; i < parts.size(); ++i) {
    for (std::size_t p = 0; p < parts[0].size(); ++p) parts[0][p].add_(parts[i][p]);
  }
  return parts[0];
}

ImageGradient one_pass_image_gradients(const nn::Network& like, const nn::NetworkState& state,
                                       const std::vector<ClassImages>& classes) {
  const at::AutoGradMode gradients_on(true);
  const Tensors copies = stack_parameters(std::vector<nn::NetworkState>(classes.size(), state));
  const ClassBatches real = stack_classes(classes, &ClassImages::real);
  const Tensors wanted = joined_matrices(stacked_gradients(like, copies, real.images, real.labels));
  ClassBatches synthetic = stack_classes(classes, &ClassImages::synthetic);
  synthetic.images.requires_grad_();
  Tensors leaves;
  for (const Tensor& p : copies) leaves.push_back(p.detach().requires_grad_());
  const Tensor log_p = stacked_logits(like, leaves, synthetic.images).log_softmax(2);
  const Tensor loss =
      -log_p.gather(2, synthetic.labels.unsqueeze(2)).sum() / double(synthetic.images.size(1));
  const Tensor value =
      row_distance(wanted, joined_matrices(torch::autograd::grad({loss}, leaves, {}, true, true)));
  return {torch::autograd::grad({value}, {synthetic.images})[0].flatten(0, 1), value.detach()};
}

}  // namespace retort::bench
