#include "methods/trajectory_matching/step_pass.h"

#include <map>
#include <mutex>
#include <utility>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/parallel.h"
#include "lib/synth/parametrization.h"
#include "lib/train/supervised.h"

namespace retort::methods::trajectory_matching {
namespace {

/// Adds up the pieces' vectors in the order of the pieces, whichever is finished first.
class OrderedSum {
 public:
  explicit OrderedSum(const Tensor& like, const std::vector<nn::ParameterInfo>& layout)
      : total_(at::zeros_like(like)), views_(nn::unflatten(total_, layout)) {}

  void add(std::size_t piece, Tensors parts, double factor) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(piece, std::pair(std::move(parts), factor));
    for (auto it = waiting_.find(next_); it != waiting_.end(); it = waiting_.find(++next_)) {
      const auto& [found, weight] = it->second;
      for (std::size_t i = 0; i < views_.size(); ++i) views_[i].add_(found[i], weight);
      waiting_.erase(it);
    }
  }
  const Tensor& total() const { return total_; }

 private:
  Tensor total_;
  Tensors views_;
  std::mutex mutex_;
  std::map<std::size_t, std::pair<Tensors, double>> waiting_;
  std::size_t next_ = 0;
};

std::int64_t piece_count(const Tensor& images, std::int64_t micro_batch) {
  const std::int64_t n = images.size(0);
  if (micro_batch > 0) return (n + micro_batch - 1) / micro_batch;
  // A device wants the whole batch at once.
  return images.is_cpu() ? train::gradient_chunks(n) : 1;
}

}  // namespace

StepPass::StepPass(const Student& student, const Tensor& theta, const InnerStep& step,
                   std::int64_t micro_batch)
    : student_(student), theta_(theta.detach()), rows_(step.rows.to(student.images.device())) {
  // Some of the augmentation's sums depend on the number of threads; a task has one.
  parallel_tasks(1, [&](std::int64_t) { make_batch(step); });
  const std::int64_t n = augmented_.size(0);
  const std::int64_t pieces = piece_count(augmented_, micro_batch);
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

std::unique_ptr<nn::LossGraph> StepPass::graph_of(const Piece& piece) const {
  const nn::NetworkState state{nn::unflatten(theta_, student_.network.parameters()), {}};
  return student_.network.loss_graph(state, augmented_.detach().narrow(0, piece.first, piece.count),
                                     targets_.narrow(0, piece.first, piece.count));
}

double StepPass::share(const Piece& piece) const {
  return student_.loss_factor * double(piece.count) / double(augmented_.size(0));
}

Tensor StepPass::gradient(bool keep) {
  OrderedSum sum(theta_, student_.network.parameters());
  parallel_tasks(std::int64_t(pieces_.size()), [&](std::int64_t task) {
    Piece& piece = pieces_[std::size_t(task)];
    auto graph = graph_of(piece);
    const at::NoGradGuard no_grad;
    piece.bytes = graph->bytes();
    sum.add(std::size_t(task), graph->gradients(), share(piece));
    if (keep) piece.graph = std::move(graph);
  });
  return sum.total();
}

std::int64_t StepPass::graph_bytes() const {
  std::int64_t bytes = 0;
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
  OrderedSum gradient(theta_, layout);
  OrderedSum curvature(theta_, layout);
  const Tensor images = at::empty_like(augmented_.detach());
  const Tensor targets = at::empty_like(targets_);
  parallel_tasks(std::int64_t(pieces_.size()), [&](std::int64_t task) {
    Piece& piece = pieces_[std::size_t(task)];
    const auto graph = piece.graph ? std::move(piece.graph) : graph_of(piece);
    const at::NoGradGuard no_grad;
    const double factor = share(piece);
    gradient.add(std::size_t(task), graph->gradients(), factor);
    const nn::LossProducts found = graph->products(directions, wanted);
    const auto write = [&](const Tensor& all, const Tensor& part) {
      all.narrow(0, piece.first, piece.count).copy_(part).mul_(factor);
    };
    if (wanted.images) write(images, found.images);
    if (wanted.targets) write(targets, found.targets);
    if (wanted.parameters) curvature.add(std::size_t(task), found.parameters, factor);
  });
  Products products{.gradient = gradient.total(), .images = {}, .labels = {}, .parameters = {}};
  parallel_tasks(1, [&](std::int64_t) {
    if (wanted.images) products.images = pulled_back(images);
    if (wanted.targets) products.labels = label_gradient(targets);
  });
  if (wanted.parameters) products.parameters = curvature.total();
  return products;
}

}  // namespace retort::methods::trajectory_matching
