#include "tests/bench/plain_gradients.h"

#include <utility>

#include <torch/csrc/autograd/autograd.h>

#include "tests/bench/plain_training.h"

namespace retort::bench {
namespace {

Tensors matrices_of(const Tensors& parameters) {
  Tensors result;
  for (const Tensor& p : parameters) {
    if (p.dim() >= 2) result.push_back(p);
  }
  return result;
}

Tensor labels_of(const ClassImages& own, const Tensor& images) {
  return at::full({images.size(0)}, own.label, at::kLong);
}

/// The gradients of all parameters in one graph, the distance's gradient asked of images and
/// parameters alike, as the papers' loss.backward() does.
ImageGradient papers_gradient(const nn::Network& like, const nn::NetworkState& state,
                              const std::vector<ClassImages>& classes, double relu_threshold) {
  const auto leaves = with_leaves(state);
  Tensors images;
  Tensor total;
  for (const ClassImages& own : classes) {
    const auto real =
        plain_gradient(Style::Papers, like, leaves, own.real, labels_of(own, own.real));
    images.push_back(own.synthetic.detach().clone().requires_grad_());
    const Tensor logits =
        plain_convnet(like, leaves, images.back(), {.relu_threshold = relu_threshold}).logits;
    const Tensor loss = at::cross_entropy_loss(logits, labels_of(own, images.back()));
    const Tensor part = row_distance(
        real.gradients,
        torch::autograd::grad({loss}, leaves.parameters, {}, true, /*create_graph=*/true));
    total = total.defined() ? total + part : part;
  }
  const auto count = std::int64_t(images.size());
  Tensors wanted = images;
  wanted.insert(wanted.end(), leaves.parameters.begin(), leaves.parameters.end());
  const auto gradients = torch::autograd::grad({total}, wanted, {}, {}, false, true);
  return {at::cat(Tensors(gradients.begin(), gradients.begin() + count)), total.detach()};
}

/// Weight gradients of one chunk, with the graph to its images.
struct Linked {
  Tensor images;
  Tensors gradients;
};

Linked linked_gradients(const nn::Network& like, const nn::NetworkState& state,
                        const ClassImages& own, Chunk chunk, double relu_threshold) {
  const at::AutoGradMode gradients_on(true);
  const auto leaves = with_leaves(state);
  const Tensor images =
      own.synthetic.detach().narrow(0, chunk.first, chunk.count).clone().requires_grad_();
  const Tensor logits =
      plain_convnet(like, leaves, images, {.relu_threshold = relu_threshold}).logits;
  const Tensor loss = at::cross_entropy_loss(logits, labels_of(own, images)) *
                      (double(chunk.count) / double(own.synthetic.size(0)));
  return {images, torch::autograd::grad({loss}, matrices_of(leaves.parameters), {}, true,
                                        /*create_graph=*/true)};
}

/// The distance depends on the sum over chunks; once its derivative there is known, each chunk goes
/// back alone.
ImageGradient chunked_gradient(const nn::Network& like, const nn::NetworkState& state,
                               const ClassImages& own, const Tensors& real, double relu_threshold) {
  const auto chunks = chunks_of(own.synthetic.size(0), Style::Best);
  const auto tasks = std::int64_t(chunks.size());
  std::vector<Linked> parts(chunks.size());
  for_each(Style::Best, tasks, [&](std::int64_t i) {
    parts[std::size_t(i)] =
        linked_gradients(like, state, own, chunks[std::size_t(i)], relu_threshold);
  });
  Tensors sum;
  for (std::size_t p = 0; p < parts[0].gradients.size(); ++p) {
    Tensor total = parts[0].gradients[p].detach().clone();
    for (std::size_t i = 1; i < parts.size(); ++i) total.add_(parts[i].gradients[p].detach());
    sum.push_back(total.requires_grad_());
  }
  const Tensor value = row_distance(real, sum);
  const auto upstream = torch::autograd::grad({value}, sum);
  Tensors gradients(parts.size());
  for_each(Style::Best, tasks, [&](std::int64_t i) {
    auto& part = parts[std::size_t(i)];
    gradients[std::size_t(i)] = torch::autograd::grad(part.gradients, {part.images}, upstream)[0];
    part = {};
  });
  return {at::cat(gradients), value.detach()};
}

std::vector<ImageGradient> class_gradients(const nn::Network& like, const nn::NetworkState& state,
                                           const ClassImages& own,
                                           const std::vector<double>& relu_thresholds) {
  const at::AutoGradMode gradients_on(true);
  const Tensors real = matrices_of(
      plain_gradient(Style::Best, like, state, own.real, labels_of(own, own.real)).gradients);
  std::vector<ImageGradient> result;
  for (const double threshold : relu_thresholds) {
    result.push_back(chunked_gradient(like, state, own, real, threshold));
  }
  return result;
}

/// Of some of a batch of `n`. Nothing of it is shared with the others: one graph, one way back.
PlainProducts chunk_products(const nn::Network& like, const nn::NetworkState& state,
                             const Tensor& images, const Tensor& targets, std::int64_t n,
                             const Tensors& directions, double relu_threshold) {
  const at::AutoGradMode gradients_on(true);
  const auto leaves = with_leaves(state);
  Tensors inputs = {images.clone().requires_grad_(), targets.clone().requires_grad_()};
  const Tensor logits =
      plain_convnet(like, leaves, inputs[0], {.relu_threshold = relu_threshold}).logits;
  const Tensor loss = -(inputs[1] * logits.log_softmax(1)).sum() / double(n);
  PlainProducts result;
  result.gradients = torch::autograd::grad({loss}, leaves.parameters, {}, true,
                                           /*create_graph=*/true);
  inputs.insert(inputs.end(), leaves.parameters.begin(), leaves.parameters.end());
  const auto found = torch::autograd::grad(result.gradients, inputs, directions);
  for (Tensor& g : result.gradients) g = g.detach();
  result.images = found[0];
  result.targets = found[1];
  result.parameters.assign(found.begin() + 2, found.end());
  return result;
}

PlainProducts summed(std::vector<PlainProducts> parts) {
  PlainProducts sum = std::move(parts[0]);
  Tensors images = {sum.images};
  Tensors targets = {sum.targets};
  for (std::size_t i = 1; i < parts.size(); ++i) {
    images.push_back(parts[i].images);
    targets.push_back(parts[i].targets);
    for (std::size_t p = 0; p < sum.gradients.size(); ++p) {
      sum.gradients[p].add_(parts[i].gradients[p]);
      sum.parameters[p].add_(parts[i].parameters[p]);
    }
  }
  sum.images = at::cat(images);
  sum.targets = at::cat(targets);
  return sum;
}

}  // namespace

Tensor row_distance(const Tensors& real, const Tensors& synthetic) {
  Tensor sum = at::zeros({}, real[0].options());
  for (std::size_t i = 0; i < real.size(); ++i) {
    if (real[i].dim() < 2) continue;
    const Tensor g = real[i].flatten(1);
    const Tensor h = synthetic[i].flatten(1);
    const Tensor norms = g.norm(2, {1}, false) * h.norm(2, {1}, false);
    sum = sum + (1 - (g * h).sum(1) / (norms + 1e-6)).sum();
  }
  return sum;
}

std::vector<ImageGradient> plain_image_gradients(Style style, const nn::Network& like,
                                                 const nn::NetworkState& state,
                                                 const std::vector<ClassImages>& classes,
                                                 const std::vector<double>& relu_thresholds) {
  std::vector<ImageGradient> result;
  if (style == Style::Papers) {
    for (const double threshold : relu_thresholds) {
      result.push_back(papers_gradient(like, state, classes, threshold));
    }
    return result;
  }
  std::vector<std::vector<ImageGradient>> of_class(classes.size());
  for_each(style, std::int64_t(classes.size()), [&](std::int64_t c) {
    of_class[std::size_t(c)] =
        class_gradients(like, state, classes[std::size_t(c)], relu_thresholds);
  });
  for (std::size_t t = 0; t < relu_thresholds.size(); ++t) {
    Tensors images;
    Tensor sum = of_class[0][t].distance;
    for (std::size_t c = 0; c < classes.size(); ++c) {
      images.push_back(of_class[c][t].images);
      if (c > 0) sum = sum + of_class[c][t].distance;
    }
    result.push_back({at::cat(images), sum});
  }
  return result;
}

std::vector<PlainProducts> plain_products(Style style, const nn::Network& like,
                                          const nn::NetworkState& state, const Tensor& images,
                                          const Tensor& targets, const Tensors& directions,
                                          const std::vector<double>& relu_thresholds) {
  const std::int64_t n = images.size(0);
  const auto chunks = chunks_of(n, style);
  std::vector<PlainProducts> result;
  for (const double threshold : relu_thresholds) {
    std::vector<PlainProducts> parts(chunks.size());
    for_each(style, std::int64_t(chunks.size()), [&](std::int64_t i) {
      const auto& [first, count] = chunks[std::size_t(i)];
      parts[std::size_t(i)] =
          chunk_products(like, state, images.narrow(0, first, count),
                         targets.narrow(0, first, count), n, directions, threshold);
    });
    result.push_back(summed(std::move(parts)));
  }
  return result;
}

}  // namespace retort::bench
