#include "lib/kernels/convnet_gradient.h"

#include <algorithm>
#include <memory>

#include <torch/csrc/autograd/autograd.h>

#include "lib/kernels/common.h"
#include "lib/kernels/convnet_loss.h"
#include "lib/kernels/convnet_outputs.h"
#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

constexpr std::size_t kInputs = 2;  // images and targets

/// What carries no gradient.
struct Call {
  ConvNetShape shape;
  Tensors buffers;  // own copies: a pass in training mode may change the running statistics
};

ConvNetRun run_of(const ConvNetShape& shape, std::span<const Tensor> buffers) {
  return {.shape = shape, .norm = buffers.empty() ? ConvNetNorm::Instance : ConvNetNorm::BatchEval};
}

Call call_of(const ConvNetShape& shape, std::span<const Tensor> buffers) {
  Call call{shape, {}};
  for (const Tensor& buffer : buffers) call.buffers.push_back(buffer.detach().clone());
  return call;
}

// Directions with zeros where nothing was asked.
Tensors directions_like(at::TensorList parameters, const Tensors& cotangents) {
  Tensors directions;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    directions.push_back(cotangents[i].defined() ? cotangents[i] : at::zeros_like(parameters[i]));
  }
  return directions;
}

Tensors reference_products(const Call& call, const BackwardPass& pass) {
  count(&Counters::second_order);
  const Tensors& saved = pass.saved;
  const Tensors parameters(saved.begin() + kInputs, saved.end());
  const Tensors gradients =
      convnet_loss_gradients_reference(saved[0], saved[1], parameters, call.shape, call.buffers);
  Tensors outputs;
  Tensors directions;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!pass.gradients[i].defined()) continue;
    outputs.push_back(gradients[i]);
    directions.push_back(pass.gradients[i]);
  }
  Tensors wanted;
  for (std::size_t i = 0; i < kInputs; ++i) {
    if (saved[i].requires_grad()) wanted.push_back(saved[i]);
  }
  const Tensors found = torch::autograd::grad(outputs, wanted, directions, /*retain_graph=*/true,
                                              /*create_graph=*/true, /*allow_unused=*/true);
  Tensors result(kInputs);
  for (std::size_t i = 0, next = 0; i < kInputs; ++i) {
    if (saved[i].requires_grad()) result[i] = found[next++];
  }
  return result;
}

Tensors tangent_products(const ConvNetLoss& loss, const BackwardPass& pass) {
  const at::TensorList parameters = at::TensorList(pass.saved).slice(kInputs);
  LossProducts products = loss.products(directions_like(parameters, pass.gradients),
                                        {pass.needed[0], pass.needed[1], /*parameters=*/false});
  return {std::move(products.images), std::move(products.targets)};
}

Tensors recorded_gradients(const Tensor& x, const Tensor& targets, const Tensors& parameters,
                           const Call& call) {
  Tensors inputs = {x, targets};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  const auto forward = [&] {
    const bool again = x.requires_grad() || targets.requires_grad();
    const auto loss = std::make_shared<ConvNetLoss>(x, targets, parameters, call.shape,
                                                    call.buffers, range_count(x.size(0)),
                                                    LossUse{.gradients = true, .products = again});
    Tensors gradients = loss->take_gradients();
    if (!again) return Recorded{std::move(gradients), {}, {}};
    return Recorded{std::move(gradients), inputs, [call, loss](const BackwardPass& pass) {
                      return at::GradMode::is_enabled() ? reference_products(call, pass)
                                                        : tangent_products(*loss, pass);
                    }};
  };
  return record(inputs, forward);
}

class ConvNetLossGraph : public LossGraph {
 public:
  ConvNetLossGraph(const Tensor& x, const Tensor& targets, Tensors parameters, const Call& call,
                   LossUse use)
      : parameters_(std::move(parameters)),
        graph_(std::make_unique<ConvNetLoss>(x, targets, parameters_, call.shape, call.buffers,
                                             loss_parts(x.size(0)), use)),
        loss_(graph_->loss()),
        gradients_(graph_->take_gradients()) {
    if (!use.products) graph_.reset();
  }

  double loss() const override { return loss_; }
  const Tensors& gradients() const override { return gradients_; }
  std::int64_t bytes() const override { return graph_ ? graph_->bytes() : 0; }
  LossProducts products(const Tensors& directions, const WantedProducts& wanted) override {
    expect_products_left(graph_ != nullptr);
    expect_directions(directions, parameters_);
    const auto graph = std::exchange(graph_, nullptr);
    return graph->products(directions, wanted);
  }

 private:
  // Two cores at least have work; more where every part has enough of its own to do. By the number
  // of images alone.
  static std::int64_t loss_parts(std::int64_t images) {
    constexpr std::int64_t kFewest = 4, kPerPair = 48, kMostPairs = 4;
    return images < kFewest ? 1 : 2 * std::clamp<std::int64_t>(images / kPerPair, 1, kMostPairs);
  }

  Tensors parameters_;
  std::unique_ptr<ConvNetLoss> graph_;
  double loss_;
  Tensors gradients_;
};

}  // namespace

bool serves_convnet_loss_gradients(const Tensor& x, std::span<const Tensor> parameters,
                                   const ConvNetShape& shape, std::span<const Tensor> buffers) {
  if (!serves_convnet_outputs(x, parameters, buffers, run_of(shape, buffers)) ||
      parameters.size() != kParametersPerBlock * std::size_t(shape.depth) + 2 ||
      std::any_of(parameters.begin(), parameters.end(),
                  [](const Tensor& p) { return p.requires_grad(); })) {
    return false;
  }
  const auto classifier = parameters.last(2);
  return is_fast_parameter(classifier[0]) && is_fast_parameter(classifier[1]) &&
         classifier[0].dim() == 2;
}

Tensors convnet_loss_gradients(const Tensor& x, const Tensor& targets,
                               std::span<const Tensor> parameters, const ConvNetShape& shape,
                               std::span<const Tensor> buffers) {
  if (!serves_convnet_loss_gradients(x, parameters, shape, buffers)) {
    count(&Counters::gradient_fallback);
    return convnet_loss_gradients_reference(x, targets, parameters, shape, buffers);
  }
  count(&Counters::gradient_fast);
  const Tensors all(parameters.begin(), parameters.end());
  return recorded_gradients(x, targets, all, call_of(shape, buffers));
}

std::unique_ptr<LossGraph> convnet_loss_graph(const Tensor& x, const Tensor& targets,
                                              std::span<const Tensor> parameters,
                                              const ConvNetShape& shape,
                                              std::span<const Tensor> buffers, LossUse use) {
  count(&Counters::gradient_fast);
  return std::make_unique<ConvNetLossGraph>(
      x, targets, Tensors(parameters.begin(), parameters.end()), call_of(shape, buffers), use);
}

Tensors convnet_loss_gradients_reference(const Tensor& x, const Tensor& targets,
                                         std::span<const Tensor> parameters,
                                         const ConvNetShape& shape,
                                         std::span<const Tensor> buffers) {
  const at::AutoGradMode gradients(true);
  Tensors p(parameters.begin(), parameters.end());
  for (Tensor& t : p) {
    if (!t.requires_grad()) t = t.detach().requires_grad_();
  }
  const Tensor features = convnet_outputs_reference(x, p, buffers, run_of(shape, buffers)).features;
  const Tensor logits = at::linear(features, p[p.size() - 2], p[p.size() - 1]);
  const Tensor loss = -(targets * logits.log_softmax(1)).sum() / double(x.size(0));
  return torch::autograd::grad({loss}, p, {}, /*retain_graph=*/true, /*create_graph=*/true);
}

}  // namespace retort::kernels
