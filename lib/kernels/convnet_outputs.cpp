#include "lib/kernels/convnet_outputs.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/kernels/common.h"
#include "lib/kernels/convnet_attention.h"
#include "lib/kernels/convnet_batch_norm.h"
#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

bool has_batch_norm(const ConvNetRun& run) { return run.norm != ConvNetNorm::Instance; }

/// A fast or reference call: inputs that carry no gradient.
struct Call {
  ConvNetRun run;
  Tensors buffers;  // of BatchNorm
};

/// @param forward false: for a gradient, where running statistics stay as they are
std::unique_ptr<AttentionPlan> make_plan(const Tensor& x, at::TensorList parameters,
                                         const Call& call, bool forward) {
  const Tensor images = x.detach().contiguous();
  const Tensors values = contiguous(parameters);
  const ConvNetRun& run = call.run;
  const int power = int(run.attention_power);
  if (run.norm == ConvNetNorm::BatchTrain) {
    RunningStatistics running{forward ? call.buffers : Tensors(), run.momentum};
    return std::make_unique<BatchNormPlan>(images, values, run.shape, power, std::move(running));
  }
  std::optional<FixedStatistics> fixed;
  if (run.norm == ConvNetNorm::BatchEval) fixed = fixed_statistics(call.buffers, run.shape.eps);
  auto plan = std::make_unique<AttentionPlan>(images, values, run.shape, power, std::move(fixed));
  if (run.statistics && forward) plan->look_at_statistics();
  return plan;
}

/// Features, then the attention of every block, then mean and variance of every block.
Tensors listed(const ConvNetOutputs& outputs) {
  Tensors list = {outputs.features};
  list.insert(list.end(), outputs.attention.begin(), outputs.attention.end());
  for (const ChannelStatistics& block : outputs.statistics) {
    list.push_back(block.mean);
    list.push_back(block.variance);
  }
  return list;
}

/// @param list in that order
ConvNetOutputs outputs_of(const Tensors& list, const ConvNetRun& run) {
  ConvNetOutputs outputs{list[0], {}, {}};
  std::size_t next = 1;
  const auto depth = std::size_t(run.shape.depth);
  for (std::size_t b = 0; run.attention_power != 0 && b < depth; ++b) {
    outputs.attention.push_back(list[next++]);
  }
  for (std::size_t b = 0; run.statistics && b < depth; ++b, next += 2) {
    outputs.statistics.push_back({list[next], list[next + 1]});
  }
  return outputs;
}

/// All outputs as one vector, for gradients of all of them together.
Tensor joined(const Tensors& list) {
  Tensors flat;
  for (const Tensor& output : list) flat.push_back(output.reshape(-1));
  return at::cat(flat);
}

/// What a plan has made, after its `forward`.
ConvNetOutputs outputs_of(const AttentionPlan& plan, const Tensor& features,
                          const ConvNetRun& run) {
  ConvNetOutputs outputs{features, plan.attention(), {}};
  for (std::size_t b = 0; b < plan.moments().size(); ++b) {
    const auto& block = plan.blocks()[b];
    outputs.statistics.push_back(combined_statistics(plan.moments()[b], block.map.pixels(),
                                                     block.out_channels, run.statistics_group));
  }
  return outputs;
}

/// What a gradient needs of the call: running statistics are those of evaluation, which a later
/// pass in training mode may change; training has its batch's.
Call kept_call(const Call& call) {
  Call kept{call.run, {}};
  if (call.run.norm != ConvNetNorm::BatchEval) return kept;
  for (const Tensor& buffer : call.buffers) kept.buffers.push_back(buffer.detach().clone());
  return kept;
}

Tensors reference_gradients(const Call& call, const Tensors& values, const Tensors& gradients) {
  return differentiable_gradients(
      [&call](const Tensors& in) {
        return joined(listed(
            convnet_outputs_reference(in[0], std::span(in).subspan(1), call.buffers, call.run)));
      },
      values, joined(gradients));
}

/// What the cotangents of the statistics add to those of the maps.
/// @param found the statistics
std::vector<MapCotangent> map_cotangents(const AttentionPlan& plan, const ConvNetRun& run,
                                         const std::vector<ChannelStatistics>& cotangents,
                                         const std::vector<ChannelStatistics>& found) {
  std::vector<MapCotangent> result;
  for (std::size_t b = 0; b < found.size(); ++b) {
    result.push_back(map_cotangent(cotangents[b], found[b], plan.fixed().mean[b],
                                   plan.images().size(0), plan.blocks()[b].map.pixels(),
                                   run.statistics_group));
  }
  return result;
}

/// @param found statistics of the forward pass, if they were asked for
/// @param gradients the features' defined
Tensors fused_gradients(const Call& call, const std::vector<ChannelStatistics>& found,
                        const BackwardPass& pass, const Tensors& gradients) {
  if (std::find(pass.needed.begin(), pass.needed.end(), true) == pass.needed.end()) return {};
  const WantedGradients wanted{pass.needed[0], {pass.needed.begin() + 1, pass.needed.end()}};
  const Tensors& saved = pass.saved;
  const std::size_t inputs = pass.needed.size();
  const std::vector<SavedBlock> blocks = unflattened(at::TensorList(saved).slice(inputs));
  const auto plan = make_plan(saved[0], at::TensorList(saved).slice(1, inputs - 1), call, false);
  ConvNetOutputs cotangents = outputs_of(gradients, call.run);
  for (Tensor& attention : cotangents.attention) {
    if (attention.defined()) attention = attention.contiguous();
  }
  plan->set_attention_gradients(std::move(cotangents.attention));
  plan->set_statistics_gradients(map_cotangents(*plan, call.run, cotangents.statistics, found));
  ConvNetGradients own = plan->backward(blocks, gradients[0].contiguous(), wanted);
  Tensors result = {std::move(own.input)};
  result.insert(result.end(), own.parameters.begin(), own.parameters.end());
  return result;
}

using Shapes = std::vector<std::vector<std::int64_t>>;

/// Handles of their own: the outputs themselves get the graph.
std::vector<ChannelStatistics> copies(const std::vector<ChannelStatistics>& statistics) {
  std::vector<ChannelStatistics> result;
  for (const auto& [mean, variance] : statistics) {
    result.push_back({mean.clone(), variance.clone()});
  }
  return result;
}

/// @param shapes of the outputs  @param found as fused_gradients
Tensors output_gradients(const Call& call, const Shapes& shapes,
                         const std::vector<ChannelStatistics>& found, const BackwardPass& pass) {
  const bool again = at::GradMode::is_enabled();
  Tensors gradients = pass.gradients;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const bool needed = i == 0 || again;
    if (gradients[i].defined() || !needed) continue;
    gradients[i] = at::zeros(shapes[i], pass.saved[0].options().requires_grad(false));
  }
  if (!again) return fused_gradients(call, found, pass, gradients);
  const auto end_of_inputs = pass.saved.begin() + std::ptrdiff_t(pass.needed.size());
  return reference_gradients(call, Tensors(pass.saved.begin(), end_of_inputs), gradients);
}

/// As `listed`.
Tensors recorded_outputs(const Tensor& x, at::TensorList parameters, const Call& call) {
  Tensors inputs = {x};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  const auto forward = [&] {
    const auto plan = make_plan(x, parameters, call, true);
    std::vector<SavedBlock> blocks;
    const Tensor features = plan->forward(&blocks, any_weight_requires_grad(parameters));
    const ConvNetOutputs made = outputs_of(*plan, features, call.run);
    const Tensors outputs = listed(made);
    Tensors saved = inputs;
    const Tensors kept = flattened(blocks);
    saved.insert(saved.end(), kept.begin(), kept.end());
    Shapes shapes;
    for (const Tensor& output : outputs) shapes.push_back(output.sizes().vec());
    return Recorded{
        outputs, std::move(saved),
        [kept = kept_call(call), shapes = std::move(shapes), found = copies(made.statistics)](
            const BackwardPass& pass) { return output_gradients(kept, shapes, found, pass); }};
  };
  return record(inputs, forward);
}

Tensor batch_norm(const Tensor& map, std::span<const Tensor> parameters,
                  std::span<const Tensor> buffers, const ConvNetRun& run) {
  // A gradient that is computed again must not move the running statistics again.
  const Tensor mean = buffers.empty() ? Tensor() : buffers[0];
  const Tensor variance = buffers.empty() ? Tensor() : buffers[1];
  return at::batch_norm(map, parameters[2], parameters[3], mean, variance,
                        run.norm == ConvNetNorm::BatchTrain, run.momentum, run.shape.eps,
                        /*cudnn_enabled=*/false);
}

void expect_inputs(std::span<const Tensor> parameters, std::span<const Tensor> buffers,
                   const ConvNetRun& run) {
  const auto depth = std::size_t(std::max<std::int64_t>(0, run.shape.depth));
  const std::size_t needed = has_batch_norm(run) ? kBuffersPerBlock * depth : 0;
  if (depth < 1 || parameters.size() < kParametersPerBlock * depth || buffers.size() < needed) {
    throw ConfigError(str("ConvNet outputs: a depth of ", run.shape.depth, " needs ",
                          kParametersPerBlock * depth, " parameters, ", needed,
                          " buffers and at least one block, found ", parameters.size(), " and ",
                          buffers.size()));
  }
  if (run.statistics && run.norm != ConvNetNorm::BatchEval) {
    throw ConfigError("ConvNet outputs: the batch's statistics stand beside running ones only");
  }
  if (has_batch_norm(run) && run.shape.norm_groups != 0) {
    throw ConfigError(
        str("ConvNet outputs: BatchNorm has no groups of channels, found ", run.shape.norm_groups));
  }
}

void count_call(const ConvNetRun& run, bool fast) {
  if (run.attention_power != 0) {
    count(fast ? &Counters::attention_fast : &Counters::attention_fallback);
  }
  if (has_batch_norm(run)) {
    count(fast ? &Counters::batch_norm_fast : &Counters::batch_norm_fallback);
  }
  if (run.attention_power == 0 && !has_batch_norm(run)) {
    count(fast ? &Counters::convnet_fast : &Counters::convnet_fallback);
  }
}

}  // namespace

bool serves_convnet_outputs(const Tensor& x, std::span<const Tensor> parameters,
                            std::span<const Tensor> buffers, const ConvNetRun& run) {
  expect_inputs(parameters, buffers, run);
  const double power = run.attention_power;
  if (power != 0 && power != 1 && power != 2 && power != 4) return false;
  if (!serves_convnet_features(x, parameters, run.shape)) return false;
  if (!has_batch_norm(run)) return true;
  for (std::size_t i = 0; i < kBuffersPerBlock * std::size_t(run.shape.depth); ++i) {
    const std::int64_t channels = parameters[kParametersPerBlock * (i / kBuffersPerBlock)].size(0);
    if (!is_fast_parameter(buffers[i]) || buffers[i].sizes() != at::IntArrayRef{channels}) {
      return false;
    }
  }
  return true;
}

ConvNetOutputs convnet_outputs(const Tensor& x, std::span<const Tensor> all_parameters,
                               std::span<const Tensor> buffers, const ConvNetRun& run) {
  if (run.norm == ConvNetNorm::Instance && run.attention_power == 0) {
    return {convnet_features(x, all_parameters, run.shape), {}, {}};
  }
  const bool fast = serves_convnet_outputs(x, all_parameters, buffers, run);
  count_call(run, fast);
  if (!fast) return convnet_outputs_reference(x, all_parameters, buffers, run);
  const auto used = all_parameters.first(kParametersPerBlock * std::size_t(run.shape.depth));
  const at::TensorList parameters(used.data(), used.size());
  const Call call{run, Tensors(buffers.begin(), buffers.end())};
  const bool differentiable =
      at::GradMode::is_enabled() &&
      (x.requires_grad() || std::any_of(parameters.begin(), parameters.end(),
                                        [](const Tensor& p) { return p.requires_grad(); }));
  if (!differentiable) {
    const auto plan = make_plan(x, parameters, call, true);
    const Tensor features = plan->forward(nullptr, false);
    return outputs_of(*plan, features, run);
  }
  return outputs_of(recorded_outputs(x, parameters, call), run);
}

ConvNetOutputs convnet_outputs_reference(const Tensor& x, std::span<const Tensor> parameters,
                                         std::span<const Tensor> buffers, const ConvNetRun& run) {
  ConvNetOutputs result;
  Tensor map = x;
  for (std::size_t b = 0; b < std::size_t(run.shape.depth); ++b) {
    const auto p = parameters.subspan(kParametersPerBlock * b, kParametersPerBlock);
    map = at::conv2d(map, p[0], p[1], 1, b == 0 ? run.shape.first_padding : 1);
    if (run.statistics) {
      result.statistics.push_back(channel_statistics(map, run.statistics_group));
    }
    if (has_batch_norm(run)) {
      const auto own =
          buffers.empty() ? buffers : buffers.subspan(kBuffersPerBlock * b, kBuffersPerBlock);
      map = batch_norm(map, p, own, run);
    } else {
      map = at::group_norm(map, run.shape.groups_of(map.size(1)), p[2], p[3], run.shape.eps);
    }
    map = at::relu(map);
    if (run.attention_power != 0) {
      result.attention.push_back(attention_sums(map, run.attention_power));
    }
    map = at::avg_pool2d(map, 2);
  }
  result.features = map.flatten(1);
  return result;
}

void count_convnet_fallback(const ConvNetRun& run) { count_call(run, /*fast=*/false); }

Tensor attention_sums(const Tensor& maps, double power) {
  const Tensor magnitude = maps.abs();
  return (power == 1 ? magnitude : magnitude.pow(power)).sum(1).flatten(1);
}

}  // namespace retort::kernels
