#include "methods/decoupled/recover_loss.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/synth/parametrization.h"
#include "methods/decoupled/image_priors.h"

namespace retort::methods::decoupled {
namespace {

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

double statistics_distance(const Voter& voter, const Tensor& images, double first_layer) {
  const at::NoGradGuard no_grad;
  const auto out =
      voter.network.forward(voter.state, images, {.logits = false, .batch_norm_statistics = true});
  return batch_norm_loss(out.batch_norm_statistics, voter.statistics, first_layer).item<double>();
}

SeenBatch::SeenBatch(const Recovered& batch, const augment::SharedView& view, bool mirrored)
    : leaf_(batch.values.detach().requires_grad_()), classes_(batch.classes) {
  const at::AutoGradMode gradients(true);
  Tensor shown = batch.frozen.defined() ? batch.frozen + leaf_ : leaf_;
  if (mirrored) {
    shown = synth::with_flips(shown);
    classes_ = at::cat({classes_, classes_});
  }
  viewed_ = augment::apply_view(view, shown, {shown.size(2), shown.size(3)});
}

RecoverTerm SeenBatch::term_of(const Voter& voter, const LossWeights& weights) const {
  const at::AutoGradMode gradients(true);
  const Tensor seen = viewed_.detach().requires_grad_();
  const bool statistics = weights.batch_norm != 0;
  const auto out = voter.network.forward(voter.state, seen, {.batch_norm_statistics = statistics});
  RecoverTerm term;
  Tensor total = at::cross_entropy_loss(out.logits, classes_);
  term.loss.cross_entropy = voter.weight * total.item<double>();
  if (statistics) {
    const Tensor distance =
        voter.statistics_scale *
        batch_norm_loss(out.batch_norm_statistics, voter.statistics, weights.first_layer);
    term.loss.batch_norm = voter.weight * distance.item<double>();
    total = total + weights.batch_norm * distance;
  }
  total = voter.weight * total;
  term.loss.total = total.item<double>();
  term.gradient = torch::autograd::grad({total}, {seen})[0];
  return term;
}

RecoverGradient SeenBatch::gradient(const std::vector<RecoverTerm>& terms,
                                    const LossWeights& weights) const {
  const at::AutoGradMode gradients(true);
  RecoverGradient result;
  RecoverLoss& loss = result.loss;
  Tensor sum;
  const auto add = [&](double total, const Tensor& gradient) {
    loss.total += total;
    sum = sum.defined() ? sum + gradient : gradient;
  };
  for (const RecoverTerm& term : terms) {
    loss.cross_entropy += term.loss.cross_entropy;
    loss.batch_norm += term.loss.batch_norm;
    add(term.loss.total, term.gradient);
  }
  const Tensor seen = viewed_.detach().requires_grad_();
  if (const Tensor prior = prior_loss(seen, weights); prior.defined()) {
    loss.prior = prior.item<double>();
    add(loss.prior, torch::autograd::grad({prior}, {seen})[0]);
  }
  result.values =
      viewed_.is_same(leaf_) ? sum : torch::autograd::grad({viewed_}, {leaf_}, {sum})[0];
  return result;
}

RecoverGradient recover_gradient(const Recovered& batch, const augment::SharedView& view,
                                 bool mirrored, const std::vector<Voter>& voters,
                                 const LossWeights& weights) {
  const SeenBatch seen(batch, view, mirrored);
  std::vector<RecoverTerm> terms;
  for (const Voter& voter : voters) terms.push_back(seen.term_of(voter, weights));
  return seen.gradient(terms, weights);
}

}  // namespace retort::methods::decoupled
