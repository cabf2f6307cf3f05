#include "tests/bench/plain_trajectory.h"

#include <torch/csrc/autograd/autograd.h>

namespace retort::bench {
namespace {

Tensor squared_distance(const Tensors& a, const Tensors& b) {
  Tensor sum = (a[0] - b[0]).square().sum();
  for (std::size_t i = 1; i < a.size(); ++i) sum = sum + (a[i] - b[i]).square().sum();
  return sum;
}

}  // namespace

TrajectoryGradient plain_trajectory_gradient(const nn::Network& like, const InnerRun& run,
                                             double relu_threshold) {
  const at::AutoGradMode gradients_on(true);
  const Tensor images = run.images.detach().clone().requires_grad_();
  const Tensor lr =
      at::scalar_tensor(run.lr, images.options().requires_grad(false)).requires_grad_();
  nn::NetworkState student = with_leaves(run.start);
  for (std::size_t step = 0; step < run.batches.size(); ++step) {
    const Tensor& rows = run.batches[step];
    const Tensor batch =
        augment::apply(run.augmentation, run.draws[step], images.index_select(0, rows));
    const Tensor logits =
        plain_convnet(like, student, batch, {.relu_threshold = relu_threshold}).logits;
    const Tensor loss = at::cross_entropy_loss(logits, run.labels.index_select(0, rows));
    const auto gradients = torch::autograd::grad({loss}, student.parameters, {}, true,
                                                 /*create_graph=*/true);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      student.parameters[i] = student.parameters[i] - lr * gradients[i];
    }
  }
  const Tensor loss = squared_distance(student.parameters, run.target) /
                      squared_distance(run.start.parameters, run.target);
  const auto found = torch::autograd::grad({loss}, {images, lr});
  return {loss.detach(), found[0], found[1]};
}

}  // namespace retort::bench
