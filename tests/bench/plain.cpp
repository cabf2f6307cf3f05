#include "tests/bench/plain.h"

#include <algorithm>
#include <utility>

#include <torch/csrc/autograd/autograd.h>

namespace retort::bench {
namespace {

constexpr double kEps = 1e-5;
constexpr std::size_t kPerBlock = 4;  // convolution weight and bias, norm weight and bias

Tensor attention(const Tensor& activation) {
  const Tensor flat = activation.abs().sum(1).flatten(1);
  return flat / flat.norm(2, {1}, true).clamp_min(1e-12);
}

Tensor squared_distance_of_means(const Tensor& a, const Tensor& b) {
  return (a.mean(0) - b.mean(0)).square().sum();
}

Tensor joined(const Tensors& parts) { return parts.size() == 1 ? parts[0] : at::cat(parts); }

}  // namespace

PlainResult PlainResult::rows(std::int64_t first, std::int64_t count) const {
  PlainResult part;
  part.embedding = embedding.narrow(0, first, count);
  for (const Tensor& a : activation) part.activation.push_back(a.narrow(0, first, count));
  return part;
}

PlainResult plain_convnet(const nn::Network& like, const nn::NetworkState& state, const Tensor& x) {
  const auto& p = state.parameters;
  const std::size_t depth = p.size() / kPerBlock;
  PlainResult result;
  Tensor map = x;
  for (std::size_t b = 0; b < depth; ++b) {
    const std::size_t at = kPerBlock * b;
    const std::int64_t padding = b == 0 && like.input().channels == 1 ? 3 : 1;
    map = at::conv2d(map, p[at], p[at + 1], 1, padding);
    if (like.has_batch_norm()) {
      map = at::batch_norm(map, p[at + 2], p[at + 3], state.buffers[2 * b],
                           state.buffers[2 * b + 1], true, 0.1, kEps, false);
    } else {
      map = at::group_norm(map, map.size(1), p[at + 2], p[at + 3], kEps);
    }
    map = at::relu(map);
    result.activation.push_back(map);
    map = at::avg_pool2d(map, 2, 2);
  }
  result.embedding = map.flatten(1);
  result.logits = at::linear(result.embedding, p[p.size() - 2], p[p.size() - 1]);
  return result;
}

PlainMatching::PlainMatching(Setting setting, const Tensor& start, Rng rng)
    : setting_(std::move(setting)), images_(start.detach().clone().requires_grad_()), rng_(rng) {}

void PlainMatching::add_class(const Rng& rng, std::int64_t c, Batches& batches) const {
  const Tensor& members = setting_.of_class[std::size_t(c)];
  Rng batch_rng = rng.child("real", c);
  const Tensor picks =
      at::tensor(batch_rng.sample(members.numel(), setting_.batch_real), at::kLong);
  const Tensor real = setting_.images.index_select(0, members.index_select(0, picks));
  Rng draw_rng = rng.child("augment", c);
  const auto draw = augment::draw(setting_.augmentation, augment::Sharing::Siamese, real.size(0),
                                  real.size(2), real.size(3), draw_rng);
  const Tensor synthetic = images_.narrow(0, c * setting_.ipc, setting_.ipc);
  batches.real.push_back(augment::apply(setting_.augmentation, draw, real));
  batches.synthetic.push_back(augment::apply(setting_.augmentation, draw, synthetic));
}

Tensor PlainMatching::class_loss(const PlainResult& real, const PlainResult& synthetic) const {
  const Tensor embedding = squared_distance_of_means(real.embedding, synthetic.embedding);
  if (setting_.kind == Kind::Distribution) return embedding;
  Tensor loss = 100 * setting_.lambda * embedding;
  for (std::size_t l = 0; l + 1 < real.activation.size(); ++l) {
    loss = loss + 100 * squared_distance_of_means(attention(real.activation[l]),
                                                  attention(synthetic.activation[l]));
  }
  return loss;
}

Tensor PlainMatching::pass_loss(const nn::NetworkState& state, const Batches& batches) const {
  PlainResult real;
  {
    const at::NoGradGuard no_grad;
    real = plain_convnet(setting_.network, state, joined(batches.real));
  }
  const PlainResult synthetic = plain_convnet(setting_.network, state, joined(batches.synthetic));
  const auto classes = std::int64_t(batches.real.size());
  Tensor loss = at::zeros({});
  for (std::int64_t c = 0; c < classes; ++c) {
    loss = loss + class_loss(real.rows(c * setting_.batch_real, setting_.batch_real),
                             synthetic.rows(c * setting_.ipc, setting_.ipc));
  }
  return loss;
}

double PlainMatching::update(std::int64_t iteration) {
  const Rng rng = rng_.child("iteration", iteration);
  const nn::NetworkState state =
      setting_.network.initialize(rng_.child("networks").child("network", iteration));
  // BatchNorm's statistics are joint, so there all classes go through in one pass; else one by one.
  const bool joint = setting_.network.has_batch_norm();
  const auto classes = std::int64_t(setting_.of_class.size());
  Tensor loss = at::zeros({});
  Batches batches;
  for (std::int64_t c = 0; c < classes; ++c) {
    add_class(rng, c, batches);
    if (joint && c + 1 < classes) continue;
    loss = loss + pass_loss(state, batches);
    batches = {};
  }
  const Tensor gradient = torch::autograd::grad({loss}, {images_})[0];
  const at::NoGradGuard no_grad;
  velocity_ =
      velocity_.defined() ? velocity_.mul_(setting_.momentum).add_(gradient) : gradient.clone();
  images_.sub_(velocity_, setting_.lr);
  return loss.item<double>();
}

double plain_epoch(const PlainTraining& training, const nn::Network& like, nn::NetworkState& state,
                   const Rng& rng) {
  const std::int64_t n = training.images.size(0);
  const Tensor order = rng.child("order").permutation_tensor(n);
  Tensors velocity;
  double loss_sum = 0;
  for (std::int64_t begin = 0, step = 0; begin < n; begin += training.batch_size, ++step) {
    const Tensor rows = order.narrow(0, begin, std::min(training.batch_size, n - begin));
    Rng draw_rng = rng.child("step", step).child("augment");
    const Tensor images = augment::augment_batch(training.augmentation,
                                                 training.images.index_select(0, rows), draw_rng);
    const Tensor labels = training.labels.index_select(0, rows);
    for (Tensor& p : state.parameters) p.requires_grad_();
    const Tensor loss = at::cross_entropy_loss(plain_convnet(like, state, images).logits, labels);
    const auto gradients = torch::autograd::grad({loss}, state.parameters);
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const Tensor decayed = gradients[i].add(state.parameters[i], training.weight_decay);
      if (step == 0) {
        velocity.push_back(decayed);
      } else {
        velocity[i].mul_(training.momentum).add_(decayed);
      }
      state.parameters[i].sub_(velocity[i], training.lr);
    }
    loss_sum += loss.item<double>() * double(rows.numel());
  }
  return loss_sum / double(n);
}

}  // namespace retort::bench
