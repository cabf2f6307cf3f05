#include "methods/gradient_matching/gradient_matching.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/train/supervised.h"

namespace retort::methods::gradient_matching {

void Options::describe(config::OptionTable& table) {
  MatchingOptions::describe(table);
  table
      .add("metric", metric,
           "distance of gradients: 1 - cosine by output row, 1 - cosine of all, squared",
           config::one_of({"rows", "cos", "mse"}))
      .aliases = {"dis-metric"};
}

namespace {

/// Gradients of the mean cross-entropy of images of one class, with a graph to the images if they
/// carry one. BatchNorm uses its running statistics, as in the released code.
Tensors loss_gradients(const matching::Lens& lens, const Tensor& images, std::int64_t label) {
  const Tensor targets =
      at::one_hot(at::full({images.size(0)}, label, at::kLong), lens.network.num_classes())
          .to(images.device(), images.scalar_type());
  return lens.network.loss_gradients(lens.state, images, targets);
}

Tensors real_gradients(const matching::Lens& lens, const matching::ClassPair& pair) {
  if (lens.network.has_batch_norm()) {
    return loss_gradients(lens, pair.real, pair.class_index);
  }
  const Tensor labels = at::full({pair.real.size(0)}, pair.class_index, at::kLong);
  return train::batch_gradient(lens.network, lens.state, pair.real, data::HardLabels{labels})
      .gradients;
}

}  // namespace

matching::Loss GradientObjective::loss(const matching::Lens& lens,
                                       const std::vector<matching::ClassPair>& classes) const {
  Tensor total;
  for (const matching::ClassPair& pair : classes) {
    const Tensors synthetic = loss_gradients(lens, pair.synthetic, pair.class_index);
    const Tensor distance = gradient_distance(real_gradients(lens, pair), synthetic, metric_);
    total = total.defined() ? total + distance : distance;
  }
  return {total, {}};
}

MethodInfo info() {
  return {"gm", "Gradient matching", "Zhao, Mopuri and Bilen, ICLR 2021; Kim et al., ICML 2022",
          "Matches the loss gradients of every class in networks trained on real data.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, GradientMatching>>();
          }};
}

}  // namespace retort::methods::gradient_matching
