#include "tests/bench/plain_training.h"

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>

namespace retort::bench {

PlainGradient plain_gradient(Style style, const nn::Network& like, const nn::NetworkState& state,
                             const Tensor& images, const Tensor& labels, double relu_threshold) {
  const std::int64_t n = images.size(0);
  const auto chunks = chunks_of(n, style);
  std::vector<PlainGradient> parts(chunks.size());
  for_each(style, std::int64_t(chunks.size()), [&](std::int64_t i) {
    const auto& [first, count] = chunks[std::size_t(i)];
    const auto leaves = with_leaves(state);
    const at::AutoGradMode gradients_on(true);
    const Tensor logits = plain_convnet(like, leaves, images.narrow(0, first, count),
                                        {.relu_threshold = relu_threshold})
                              .logits;
    const Tensor loss = at::cross_entropy_loss(logits, labels.narrow(0, first, count)) *
                        (double(count) / double(n));
    parts[std::size_t(i)] = {loss.item<double>(), torch::autograd::grad({loss}, leaves.parameters)};
  });
  PlainGradient sum = std::move(parts[0]);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    sum.loss += parts[i].loss;
    for (std::size_t p = 0; p < sum.gradients.size(); ++p) {
      sum.gradients[p].add_(parts[i].gradients[p]);
    }
  }
  return sum;
}

double plain_epoch(Style style, const PlainTraining& training, const nn::Network& like,
                   nn::NetworkState& state, const Rng& rng) {
  const std::int64_t n = training.images.size(0);
  const Tensor order = rng.child("order").permutation_tensor(n);
  Tensors velocity;
  double loss_sum = 0;
  for (std::int64_t begin = 0, step = 0; begin < n; begin += training.batch_size, ++step) {
    const Tensor rows = order.narrow(0, begin, std::min(training.batch_size, n - begin));
    Rng draw_rng = rng.child("step", step).child("augment");
    const Tensor images = augment::augment_batch(training.augmentation,
                                                 training.images.index_select(0, rows), draw_rng);
    const auto batch = plain_gradient(
        style, like, state, images, training.labels.index_select(0, rows), training.relu_threshold);
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < batch.gradients.size(); ++i) {
      const Tensor decayed = batch.gradients[i].add(state.parameters[i], training.weight_decay);
      if (step == 0) {
        velocity.push_back(decayed);
      } else {
        velocity[i].mul_(training.momentum).add_(decayed);
      }
      state.parameters[i].sub_(velocity[i], training.lr);
    }
    loss_sum += batch.loss * double(rows.numel());
  }
  return loss_sum / double(n);
}

}  // namespace retort::bench
