#include "tests/bench/plain_matching.h"

#include <utility>

#include <torch/csrc/autograd/autograd.h>

namespace retort::bench {
namespace {

Tensor attention(const Tensor& activation) {
  const Tensor flat = activation.abs().sum(1).flatten(1);
  return flat / flat.norm(2, {1}, true).clamp_min(1e-12);
}

Tensor squared_distance(const Tensor& a, const Tensor& b) { return (a - b).square().sum(); }

void add(Tensor& sum, const Tensor& part) { sum = sum.defined() ? sum + part : part; }

}  // namespace

PlainMatching::PlainMatching(Setting setting, const Tensor& start, Rng rng)
    : setting_(std::move(setting)), images_(start.detach().clone()), rng_(rng) {}

nn::NetworkState PlainMatching::network_of(std::int64_t iteration) const {
  const auto state =
      setting_.network.initialize(rng_.child("networks").child("network", iteration));
  return images_.scalar_type() == at::kDouble ? in_float64(state) : state;
}

PlainMatching::Halves PlainMatching::sample_class(const Rng& rng, std::int64_t c,
                                                  const Tensor& stored) const {
  const Tensor& members = setting_.of_class[std::size_t(c)];
  Rng batch_rng = rng.child("real", c);
  const Tensor picks =
      at::tensor(batch_rng.sample(members.numel(), setting_.batch_real), at::kLong);
  const Tensor real =
      setting_.images.index_select(0, members.index_select(0, picks)).to(stored.scalar_type());
  Rng draw_rng = rng.child("augment", c);
  const auto draw = augment::draw(setting_.augmentation, augment::Sharing::Siamese, real.size(0),
                                  real.size(2), real.size(3), draw_rng);
  return {augment::apply(setting_.augmentation, draw, real),
          augment::apply(setting_.augmentation, draw, stored)};
}

/// Classes that share BatchNorm's statistics go through in one piece, others in their chunks.
std::vector<PlainMatching::Target> PlainMatching::targets(const nn::NetworkState& state,
                                                          const Tensors& real) const {
  const at::NoGradGuard no_grad;
  const bool maps = setting_.kind == Kind::Attention;
  const PlainOptions options{.logits = setting_.style == Style::Papers, .activation_maps = maps};
  std::vector<Target> result(real.size());
  const auto add_rows = [&](Target& target, const PlainResult& rows) {
    const double share = 1.0 / double(setting_.batch_real);
    add(target.embedding, rows.embedding.sum(0) * share);
    for (std::size_t l = 0; l + 1 < rows.activation.size(); ++l) {
      if (target.attention.size() <= l) target.attention.emplace_back();
      add(target.attention[l], attention(rows.activation[l]).sum(0) * share);
    }
  };
  if (setting_.network.has_batch_norm()) {
    const PlainResult all = plain_convnet(setting_.network, state, at::cat(real), options);
    for (std::size_t c = 0; c < real.size(); ++c) {
      add_rows(result[c], all.rows(std::int64_t(c) * setting_.batch_real, setting_.batch_real));
    }
    return result;
  }
  for (std::size_t c = 0; c < real.size(); ++c) {
    for (const Chunk& chunk : chunks_of(setting_.batch_real, setting_.style)) {
      const Tensor images = real[c].narrow(0, chunk.first, chunk.count);
      add_rows(result[c], plain_convnet(setting_.network, state, images, options));
    }
  }
  return result;
}

Tensor PlainMatching::loss(const nn::NetworkState& state, const std::vector<Target>& targets,
                           const Tensors& synthetic, double relu_threshold) const {
  const PlainOptions options{.logits = setting_.style == Style::Papers,
                             .activation_maps = setting_.kind == Kind::Attention,
                             .relu_threshold = relu_threshold};
  const bool joint = setting_.network.has_batch_norm();
  PlainResult all;
  if (joint) all = plain_convnet(setting_.network, state, at::cat(synthetic), options);
  Tensor sum;
  for (std::size_t c = 0; c < targets.size(); ++c) {
    const PlainResult own = joint ? all.rows(std::int64_t(c) * setting_.ipc, setting_.ipc)
                                  : plain_convnet(setting_.network, state, synthetic[c], options);
    const Tensor embedding = squared_distance(targets[c].embedding, own.embedding.mean(0));
    if (setting_.kind == Kind::Distribution) {
      add(sum, embedding);
      continue;
    }
    add(sum, 100 * setting_.lambda * embedding);
    for (std::size_t l = 0; l + 1 < own.activation.size(); ++l) {
      add(sum,
          100 * squared_distance(targets[c].attention[l], attention(own.activation[l]).mean(0)));
    }
  }
  return sum;
}

std::vector<PlainMatching::Gradient> PlainMatching::pass(
    const nn::NetworkState& state, const Rng& rng, Classes classes,
    const std::vector<double>& relu_thresholds) const {
  const at::AutoGradMode gradients_on(true);
  const std::int64_t ipc = setting_.ipc;
  const Tensor leaf =
      images_.narrow(0, classes.first * ipc, classes.count * ipc).clone().requires_grad_();
  Tensors real;
  Tensors synthetic;
  for (std::int64_t i = 0; i < classes.count; ++i) {
    auto halves = sample_class(rng, classes.first + i, leaf.narrow(0, i * ipc, ipc));
    real.push_back(std::move(halves.real));
    synthetic.push_back(std::move(halves.synthetic));
  }
  const auto means = targets(state, real);
  std::vector<Gradient> result;
  for (const double threshold : relu_thresholds) {
    const Tensor total = loss(state, means, synthetic, threshold);
    const bool again = result.size() + 1 < relu_thresholds.size();
    result.push_back({torch::autograd::grad({total}, {leaf}, {}, again)[0], total.detach()});
  }
  return result;
}

std::vector<PlainMatching::Gradient> PlainMatching::gradients(
    std::int64_t iteration, const std::vector<double>& relu_thresholds) const {
  const Rng rng = rng_.child("iteration", iteration);
  const nn::NetworkState state = network_of(iteration);
  const auto classes = std::int64_t(setting_.of_class.size());
  // BatchNorm's statistics are joint; the papers' code takes one gradient of the sum in any case.
  if (setting_.network.has_batch_norm() || setting_.style == Style::Papers) {
    return pass(state, rng, {0, classes}, relu_thresholds);
  }
  std::vector<std::vector<Gradient>> of_class(static_cast<std::size_t>(classes));
  for_each(setting_.style, classes, [&](std::int64_t c) {
    of_class[std::size_t(c)] = pass(state, rng, {c, 1}, relu_thresholds);
  });
  std::vector<Gradient> result;
  for (std::size_t t = 0; t < relu_thresholds.size(); ++t) {
    Tensors images;
    Tensor loss_sum;
    for (const auto& own : of_class) {
      images.push_back(own[t].images);
      add(loss_sum, own[t].loss);
    }
    result.push_back({at::cat(images), loss_sum});
  }
  return result;
}

PlainMatching::Gradient PlainMatching::update(std::int64_t iteration) {
  Gradient gradient = gradients(iteration, {0})[0];
  velocity_ = velocity_.defined() ? velocity_.mul_(setting_.momentum).add_(gradient.images)
                                  : gradient.images.clone();
  images_.sub_(velocity_, setting_.lr);
  return gradient;
}

}  // namespace retort::bench
