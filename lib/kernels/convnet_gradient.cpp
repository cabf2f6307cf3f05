#include "lib/kernels/convnet_gradient.h"

#include <algorithm>
#include <memory>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lib/kernels/common.h"
#include "lib/kernels/convnet_attention.h"
#include "lib/kernels/convnet_outputs.h"
#include "lib/kernels/convnet_tangent.h"
#include "lib/kernels/held.h"

namespace retort::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::size_t kInputs = 2;  // images and targets
constexpr std::size_t kSavedPerBlock = 4;

/// What carries no gradient.
struct Call {
  ConvNetShape shape;
  Tensors buffers;  // own copies: a pass in training mode may change the running statistics
};

ConvNetRun run_of(const ConvNetShape& shape, std::span<const Tensor> buffers) {
  return {.shape = shape, .norm = buffers.empty() ? ConvNetNorm::Instance : ConvNetNorm::BatchEval};
}

std::unique_ptr<ConvNetPlan> make_plan(const Tensor& x, const Tensors& blocks, const Call& call) {
  const Tensor images = x.detach().contiguous();
  if (call.buffers.empty()) return own_statistics_plan(images, blocks, call.shape);
  return std::make_unique<AttentionPlan>(images, blocks, call.shape, /*power=*/0,
                                         fixed_statistics(call.buffers, call.shape.eps));
}

/// The parameters of the blocks, and the classifier behind them.
struct Parameters {
  Tensors blocks;
  Tensor weight, bias;

  explicit Parameters(const Tensors& all) : blocks(all.begin(), all.end() - 2) {
    weight = all[all.size() - 2];
    bias = all[all.size() - 1];
  }
};

// Directions with zeros where nothing was asked.
Tensors directions_like(const Tensors& parameters, const variable_list& cotangents) {
  Tensors directions;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    directions.push_back(cotangents[i].defined() ? cotangents[i].detach().contiguous()
                                                 : at::zeros_like(parameters[i]));
  }
  return directions;
}

struct ConvNetLossGradients : torch::autograd::Function<ConvNetLossGradients> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& targets,
                               at::TensorList parameters, const Call& call) {
    const Tensors all = contiguous(parameters);
    const Parameters p(all);
    const auto plan = make_plan(x, p.blocks, call);
    std::vector<SavedBlock> blocks;
    const Tensor features = plan->forward(&blocks, /*inputs=*/true);
    if (x.requires_grad() || targets.requires_grad()) plan->allocate_cotangents(blocks);
    const Tensor probabilities = at::addmm(p.bias, features, p.weight.t()).softmax(1);
    const Tensor t = targets.detach();
    const Tensor gy = (probabilities * t.sum(1, true) - t) / double(x.size(0));
    WantedGradients wanted{false, std::vector<bool>(p.blocks.size(), true)};
    variable_list gradients = plan->backward(blocks, gy.mm(p.weight), wanted).parameters;
    gradients.push_back(gy.t().mm(features));
    gradients.push_back(gy.sum(0));

    variable_list saved = {x, targets};
    saved.insert(saved.end(), all.begin(), all.end());
    saved.insert(saved.end(), {features, probabilities, gy});
    for (const SavedBlock& block : blocks) {
      saved.insert(saved.end(), {block.map, block.mean, block.rstd, block.gout});
    }
    ctx->save_for_backward(std::move(saved));
    hold(ctx, call);
    return gradients;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& cotangents) {
    const auto& call = held<Call>(ctx);
    const variable_list saved = ctx->get_saved_variables();
    variable_list result = at::GradMode::is_enabled()
                               ? reference_backward(call, saved, cotangents)
                               : tangent_backward(ctx, call, saved, cotangents);
    result.resize(kInputs + parameter_count(call) + 1);  // nothing for the call
    return result;
  }

 private:
  static std::size_t parameter_count(const Call& call) {
    return kPerBlock * std::size_t(call.shape.depth) + 2;
  }

  static variable_list reference_backward(const Call& call, const variable_list& saved,
                                          const variable_list& cotangents) {
    count(&Counters::second_order);
    const Tensors parameters(saved.begin() + kInputs,
                             saved.begin() + std::ptrdiff_t(kInputs + parameter_count(call)));
    Tensors gradients =
        convnet_loss_gradients_reference(saved[0], saved[1], parameters, call.shape, call.buffers);
    Tensors outputs;
    Tensors directions;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (!cotangents[i].defined()) continue;
      outputs.push_back(gradients[i]);
      directions.push_back(cotangents[i]);
    }
    Tensors wanted;
    for (std::size_t i = 0; i < kInputs; ++i) {
      if (saved[i].requires_grad()) wanted.push_back(saved[i]);
    }
    const Tensors found = torch::autograd::grad(outputs, wanted, directions, /*retain_graph=*/true,
                                                /*create_graph=*/true, /*allow_unused=*/true);
    variable_list result(kInputs);
    for (std::size_t i = 0, next = 0; i < kInputs; ++i) {
      if (saved[i].requires_grad()) result[i] = found[next++];
    }
    return result;
  }

  static variable_list tangent_backward(AutogradContext* ctx, const Call& call,
                                        const variable_list& saved,
                                        const variable_list& cotangents) {
    const auto parameters_end = saved.begin() + std::ptrdiff_t(kInputs + parameter_count(call));
    const Tensors all(saved.begin() + kInputs, parameters_end);
    const Parameters p(all);
    const Tensors directions = directions_like(all, cotangents);
    const Parameters v(directions);
    const Tensor& features = parameters_end[0];
    const Tensor& probabilities = parameters_end[1];
    const Tensor& gy = parameters_end[2];
    std::vector<SavedBlock> blocks;
    for (auto it = parameters_end + 3; it != saved.end(); it += kSavedPerBlock) {
      blocks.push_back({Tensor(), it[0], it[1], it[2], it[3]});
    }
    const auto plan = make_plan(saved[0], p.blocks, call);
    ConvNetTangent tangent(*plan, blocks, v.blocks);
    const Tensor tfeatures = tangent.forward();
    const Tensor tlogits = at::addmm(v.bias, features, v.weight.t()) + tfeatures.mm(p.weight.t());
    // Derivative of log softmax along the direction.
    const Tensor tlog = tlogits - (probabilities * tlogits).sum(1, true);
    const double samples = double(saved[0].size(0));
    variable_list result(kInputs);
    if (ctx->needs_input_grad(0)) {
      const Tensor tgy = probabilities * tlog * saved[1].detach().sum(1, true) / samples;
      result[0] = tangent.backward((gy.mm(v.weight) + tgy.mm(p.weight)).contiguous());
    }
    if (ctx->needs_input_grad(1)) result[1] = -tlog / samples;
    return result;
  }
};

}  // namespace

bool serves_convnet_loss_gradients(const Tensor& x, std::span<const Tensor> parameters,
                                   const ConvNetShape& shape, std::span<const Tensor> buffers) {
  if (!serves_convnet_outputs(x, parameters, buffers, run_of(shape, buffers)) ||
      parameters.size() != kPerBlock * std::size_t(shape.depth) + 2 ||
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
  Call call{shape, {}};
  for (const Tensor& buffer : buffers) call.buffers.push_back(buffer.detach().clone());
  return ConvNetLossGradients::apply(x, targets, at::TensorList(all), call);
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
