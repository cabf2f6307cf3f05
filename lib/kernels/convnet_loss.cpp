#include "lib/kernels/convnet_loss.h"

#include <set>
#include <utility>

#include "lib/kernels/common.h"
#include "lib/kernels/convnet_attention.h"
#include "lib/kernels/convnet_tangent.h"

namespace retort::kernels {
namespace {

std::unique_ptr<ConvNetPlan> make_plan(const Tensor& x, const Tensors& blocks,
                                       const ConvNetShape& shape, const Tensors& buffers) {
  if (buffers.empty()) return own_statistics_plan(x, blocks, shape);
  return std::make_unique<AttentionPlan>(x, blocks, shape, /*power=*/0,
                                         fixed_statistics(buffers, shape.eps));
}

/// The rows of a batch's tensor that belong to `part`, which begins at image `first`.
Tensor rows_of(const Tensor& all, std::int64_t first, const Tensor& part) {
  return all.narrow(0, first, part.size(0));
}

}  // namespace

ConvNetParameters::ConvNetParameters(at::TensorList all)
    : blocks(contiguous(all.slice(0, all.size() - 2))),
      weight(all[all.size() - 2].detach().contiguous()),
      bias(all[all.size() - 1].detach().contiguous()) {}

ConvNetLoss::ConvNetLoss(const Tensor& x, const Tensor& targets, at::TensorList parameters,
                         const ConvNetShape& shape, const Tensors& buffers, std::int64_t parts,
                         LossUse use)
    : x_(x.detach().contiguous()),
      targets_(targets.detach().contiguous()),
      parameters_(parameters),
      parts_(parts),
      plan_(make_plan(x_, parameters_.blocks, shape, buffers)),
      blocks_(plan_->allocate_saved(false)),
      features_(at::empty({x.size(0), parameters_.weight.size(1)}, x_.options())),
      probabilities_(at::empty({x.size(0), parameters_.weight.size(0)}, x_.options())),
      cotangent_(at::empty_like(probabilities_)) {
  for (const Tensor& t : parameters) shared_.push_back(t.detach());
  shared_.insert(shared_.end(), {x.detach(), targets.detach()});
  const Tensor losses = run(use);
  const std::int64_t n = x_.size(0);
  for_parts(1, n, [&](std::int64_t, std::int64_t, std::int64_t) {
    loss_ = losses.sum(at::kDouble).item<double>() / double(n);
    if (!use.gradients) return;
    gradients_.push_back(cotangent_.t().mm(features_));
    gradients_.push_back(cotangent_.sum(0));
  });
  if (!use.products) blocks_.clear();
}

Tensor ConvNetLoss::run(LossUse use) {
  if (use.products) plan_->allocate_cotangents(blocks_);
  const Tensor losses = at::empty({x_.size(0)}, x_.options());
  ConvNetGradients found = plan_->gradients(
      blocks_, features_,
      [&](std::int64_t first, const Tensor& features) { return classify(first, features, losses); },
      {.parameters = std::vector<bool>(parameters_.blocks.size(), use.gradients),
       .cotangents = use.products},
      parts_);
  if (use.gradients) gradients_ = std::move(found.parameters);
  return losses;
}

// Fills the images' rows of everything, and gives the cotangent of their features.
Tensor ConvNetLoss::classify(std::int64_t first, const Tensor& features,
                             const Tensor& losses) const {
  const Tensor targets = rows_of(targets_, first, features);
  const Tensor logs = at::addmm(parameters_.bias, features, parameters_.weight.t()).log_softmax(1);
  rows_of(losses, first, features).copy_(-(targets * logs).sum(1));
  const Tensor probabilities = rows_of(probabilities_, first, features).copy_(logs.exp());
  const Tensor cotangent = rows_of(cotangent_, first, features);
  cotangent.copy_((probabilities * targets.sum(1, true) - targets) / double(x_.size(0)));
  return cotangent.mm(parameters_.weight);
}

LossProducts ConvNetLoss::products(const Tensors& directions, const WantedProducts& wanted) const {
  const ConvNetParameters v{at::TensorList(directions)};
  const double samples = double(x_.size(0));
  LossProducts result;
  if (wanted.targets) result.targets = at::empty_like(probabilities_);
  const Tensor along = at::empty({x_.size(0)}, x_.options());
  const Tensor tcotangents = wanted.parameters ? at::empty_like(cotangent_) : Tensor();
  ConvNetTangent tangent(*plan_, blocks_, v.blocks, {wanted.images, wanted.parameters});
  auto found = tangent.run(
      [&](std::int64_t first, const Tensor& tfeatures) {
        const auto rows = [&](const Tensor& all) { return rows_of(all, first, tfeatures); };
        const Tensor tlogits = at::addmm(v.bias, rows(features_), v.weight.t())
                                   .addmm_(tfeatures, parameters_.weight.t());
        rows(along).copy_((rows(cotangent_) * tlogits).sum(1));
        const Tensor probabilities = rows(probabilities_);
        // Derivative of log softmax along the direction.
        const Tensor tlogs = tlogits - (probabilities * tlogits).sum(1, true);
        if (wanted.targets) rows(result.targets).copy_(tlogs / -samples);
        if (!wanted.images && !wanted.parameters) return Tensor();
        const Tensor tcotangent = probabilities * tlogs * rows(targets_).sum(1, true) / samples;
        if (wanted.parameters) rows(tcotangents).copy_(tcotangent);
        return rows(cotangent_).mm(v.weight).addmm_(tcotangent, parameters_.weight);
      },
      parts_);
  result.images = std::move(found.gradients.input);
  result.parameters = std::move(found.gradients.parameters);
  for_parts(1, x_.size(0), [&](std::int64_t, std::int64_t, std::int64_t) {
    result.along = along.sum(at::kDouble).item<double>();
    if (!wanted.parameters) return;
    result.parameters.push_back(
        tcotangents.t().mm(features_).addmm_(cotangent_.t(), found.features));
    result.parameters.push_back(tcotangents.sum(0));
  });
  return result;
}

std::int64_t ConvNetLoss::bytes() const {
  Tensors held = {x_, targets_, features_, probabilities_, cotangent_};
  for (const SavedBlock& block : blocks_) {
    held.insert(held.end(), {block.map, block.mean, block.rstd, block.gout});
  }
  for (const ConvNetPlan::Block& block : plan_->blocks()) {
    held.insert(held.end(), {block.bias, block.norm_weight, block.norm_bias});
  }
  for (const Tensors* some : {&parameters_.blocks, &gradients_}) {
    held.insert(held.end(), some->begin(), some->end());
  }
  held.insert(held.end(), {parameters_.weight, parameters_.bias});
  std::set<const void*> known;  // a storage counts once, and not at all where it is shared
  for (const Tensor& t : shared_) known.insert(t.storage().data());
  std::int64_t sum = 0;
  for (const Tensor& t : held) {
    if (t.defined() && known.insert(t.storage().data()).second) {
      sum += std::int64_t(t.storage().nbytes());
    }
  }
  return sum;
}

}  // namespace retort::kernels
