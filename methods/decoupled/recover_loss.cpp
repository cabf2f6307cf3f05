#include "methods/decoupled/recover_loss.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/synth/parametrization.h"
#include "methods/decoupled/image_priors.h"

namespace retort::methods::decoupled {
namespace {

Tensor with_mirrored_classes(const Tensor& classes, bool mirrored) {
  return mirrored ? at::cat({classes, classes}) : classes;
}

/// w (CE + r_bn R) of one voter.
Tensor voter_loss(const Voter& voter, const Tensor& seen, const Tensor& classes,
                  const LossWeights& weights, RecoverLoss& loss) {
  const bool statistics = weights.batch_norm != 0;
  const auto out = voter.network.forward(voter.state, seen, {.batch_norm_statistics = statistics});
  Tensor total = at::cross_entropy_loss(out.logits, classes);
  loss.cross_entropy += voter.weight * total.item<double>();
  if (statistics) {
    const Tensor distance =
        batch_norm_loss(out.batch_norm_statistics, voter.statistics, weights.first_layer);
    loss.batch_norm += voter.weight * distance.item<double>();
    total = total + weights.batch_norm * distance;
  }
  return voter.weight * total;
}

/// Undefined if none is weighed.
Tensor prior_loss(const Tensor& seen, const LossWeights& weights) {
  Tensor total;
  const auto add = [&](double weight, Tensor (*prior)(const Tensor&)) {
    if (weight == 0) return;
    const Tensor term = weight * prior(seen);
    total = total.defined() ? total + term : term;
  };
  add(weights.tv, total_variation);
  add(weights.l2, mean_norm);
  return total;
}

}  // namespace

RecoverGradient recover_gradient(const Recovered& batch, const augment::SharedView& view,
                                 bool mirrored, const std::vector<Voter>& voters,
                                 const LossWeights& weights) {
  const at::AutoGradMode gradients(true);
  const Tensor leaf = batch.values.detach().requires_grad_();
  Tensor shown = batch.frozen.defined() ? batch.frozen + leaf : leaf;
  if (mirrored) shown = synth::with_flips(shown);
  const Tensor viewed = augment::apply_view(view, shown, {shown.size(2), shown.size(3)});
  const Tensor classes = with_mirrored_classes(batch.classes, mirrored);

  RecoverGradient result;
  // One way back after the other: memory for the graph of one voter is enough.
  const Tensor seen = viewed.detach().requires_grad_();
  Tensor gradient;
  const auto add = [&](const Tensor& loss) {
    result.loss.total += loss.item<double>();
    const Tensor term = torch::autograd::grad({loss}, {seen})[0];
    gradient = gradient.defined() ? gradient + term : term;
  };
  for (const Voter& voter : voters) {
    add(voter_loss(voter, seen, classes, weights, result.loss));
  }
  if (const Tensor prior = prior_loss(seen, weights); prior.defined()) {
    result.loss.prior = prior.item<double>();
    add(prior);
  }
  result.values =
      viewed.is_same(leaf) ? gradient : torch::autograd::grad({viewed}, {leaf}, {gradient})[0];
  return result;
}

}  // namespace retort::methods::decoupled
