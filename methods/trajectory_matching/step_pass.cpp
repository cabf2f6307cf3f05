#include "methods/trajectory_matching/step_pass.h"

#include <utility>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/parallel.h"
#include "lib/synth/parametrization.h"

namespace retort::methods::trajectory_matching {
namespace {

/// [P] sums of vectors that come as parts.
class Sum {
 public:
  Sum(const Tensor& like, const std::vector<nn::ParameterInfo>& layout)
      : total_(at::zeros_like(like)), views_(nn::unflatten(total_, layout)) {}

  void add(const Tensors& parts, double factor) {
    for (std::size_t i = 0; i < views_.size(); ++i) views_[i].add_(parts[i], factor);
  }
  const Tensor& total() const { return total_; }

 private:
  Tensor total_;
  Tensors views_;
};

std::int64_t piece_count(std::int64_t images, std::int64_t micro_batch) {
  return micro_batch > 0 ? (images + micro_batch - 1) / micro_batch : 1;
}

}  // namespace

StepPass::StepPass(const Student& student, const Tensor& theta, const InnerStep& step,
                   std::int64_t micro_batch)
    : student_(student), theta_(theta.detach()), rows_(step.rows.to(student.images.device())) {
  // Some of the augmentation's sums depend on the number of threads; a task has one.
  parallel_tasks(1, [&](std::int64_t) { make_batch(step); });
  const std::int64_t n = augmented_.size(0);
  const std::int64_t pieces = piece_count(n, micro_batch);
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t first = n * i / pieces;
    pieces_.push_back({.first = first, .count = n * (i + 1) / pieces - first});
  }
}

void StepPass::make_batch(const InnerStep& step) {
  const at::AutoGradMode gradients(true);
  chosen_ = student_.images.detach().index_select(0, rows_).requires_grad_();
  targets_ = targets_of(student_.labels, rows_);
  Tensor visible = chosen_;
  if (student_.mirrored) {
    visible = synth::with_flips(visible);
    targets_ = at::cat({targets_, targets_});
  }
  augmented_ = augment::apply(student_.strategy, step.draw, visible);
}

std::unique_ptr<nn::LossGraph> StepPass::graph_of(const Piece& piece, nn::LossUse use) const {
  const nn::NetworkState state{nn::unflatten(theta_, student_.network.parameters()), {}};
  const Tensor images = augmented_.detach().narrow(0, piece.first, piece.count);
  const Tensor targets = targets_.narrow(0, piece.first, piece.count);
  return student_.network.loss_graph(state, images, targets, use);
}

double StepPass::share(const Piece& piece) const {
  return student_.loss_factor * double(piece.count) / double(augmented_.size(0));
}

Tensor StepPass::gradient(bool keep) {
  Sum sum(theta_, student_.network.parameters());
  for (Piece& piece : pieces_) {
    auto graph = graph_of(piece, {.products = keep});
    const at::NoGradGuard no_grad;
    piece.bytes = graph->bytes();
    sum.add(graph->gradients(), share(piece));
    if (keep) piece.graph = std::move(graph);
  }
  return sum.total();
}

std::int64_t StepPass::graph_bytes() const {
  // Images before and after augmentation, which keeps a few more; targets.
  const auto size = [](const Tensor& t) { return t.numel() * std::int64_t(t.element_size()); };
  std::int64_t bytes = size(chosen_) + size(targets_);
  if (!augmented_.is_same(chosen_)) bytes += size(augmented_);
  for (const Piece& piece : pieces_) bytes += piece.bytes;
  return bytes;
}

Tensor StepPass::pulled_back(const Tensor& gradient) const {
  if (augmented_.is_same(chosen_)) return gradient;
  return torch::autograd::grad({augmented_}, {chosen_}, {gradient}, /*retain_graph=*/true)[0];
}

Tensor StepPass::label_gradient(const Tensor& of_targets) const {
  Tensor sum = of_targets;
  if (student_.mirrored) {
    const auto halves = of_targets.chunk(2);
    sum = halves[0] + halves[1];
  }
  const Tensor& values = student_.labels.values;
  return student_.labels.logits ? through_softmax(values.detach().index_select(0, rows_), sum)
                                : sum;
}

StepPass::Products StepPass::products(const Tensor& direction, const nn::WantedProducts& wanted) {
  const auto& layout = student_.network.parameters();
  const Tensors directions = nn::unflatten(direction, layout);
  Sum curvature(theta_, layout);
  const Tensor images = at::empty_like(augmented_.detach());
  const Tensor targets = at::empty_like(targets_);
  Products products{.along = 0, .images = {}, .labels = {}, .parameters = {}};
  for (Piece& piece : pieces_) {
    const auto graph = piece.graph ? std::move(piece.graph) : graph_of(piece, {.gradients = false});
    const at::NoGradGuard no_grad;
    const double factor = share(piece);
    const nn::LossProducts found = graph->products(directions, wanted);
    products.along += factor * found.along;
    const auto write = [&](const Tensor& all, const Tensor& part) {
      all.narrow(0, piece.first, piece.count).copy_(part).mul_(factor);
    };
    if (wanted.images) write(images, found.images);
    if (wanted.targets) write(targets, found.targets);
    if (wanted.parameters) curvature.add(found.parameters, factor);
  }
  parallel_tasks(1, [&](std::int64_t) {
    if (wanted.images) products.images = pulled_back(images);
    if (wanted.targets) products.labels = label_gradient(targets);
  });
  if (wanted.parameters) products.parameters = curvature.total();
  return products;
}

}  // namespace retort::methods::trajectory_matching
