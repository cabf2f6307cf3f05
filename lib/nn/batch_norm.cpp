#include "lib/nn/batch_norm.h"

#include <utility>

#include <torch/csrc/autograd/custom_function.h>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/kernels/observed_norm.h"

namespace retort::nn {
namespace {

/// Consecutive groups of `size` images, the last one of what is left; all in one for 0.
Tensors image_groups(const Tensor& x, std::int64_t size) {
  return size > 0 ? x.split(size) : Tensors{x};
}

Tensor per_channel(const Tensor& row) { return row.view({1, -1, 1, 1}); }

/// Mean and biased variance [C] of a map [N,C,h,w]. In two passes, the second over deviations from
/// the mean, with sums in double precision; at::var_mean takes two to four times as long.
class ChannelStatistics : public torch::autograd::Function<ChannelStatistics> {
 public:
  static Tensors forward(torch::autograd::AutogradContext* context, const Tensor& x) {
    const auto [mean, variance] = at::batch_norm_update_stats(x, {}, {}, /*momentum=*/0);
    context->save_for_backward({x, mean});
    return {mean, variance};
  }

  /// dx = (dmean + 2 (x - mean) dvariance) / count, differentiable again.
  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& gradients) {
    const Tensors saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    const double count = double(x.numel() / x.size(1));
    return {at::addcmul(per_channel(gradients[0] / count), x - per_channel(saved[1]),
                        per_channel(2 / count * gradients[1]))};
  }
};

BatchStatistics statistics(const Tensor& x, std::int64_t group_size) {
  Tensors means;
  Tensors variances;
  for (const Tensor& group : image_groups(x, group_size)) {
    const Tensors found = ChannelStatistics::apply(group);
    means.push_back(found[0]);
    variances.push_back(found[1]);
  }
  if (group_size == 0) return {means[0], variances[0]};
  return {at::stack(means), at::stack(variances)};
}

void keep(const Normalization& layer, const ForwardPass& pass, BatchStatistics statistics) {
  auto& kept = pass.result.batch_norm_statistics;
  kept.resize(pass.state.buffers.size() / 2);
  // The place is that of the layer's buffers, in whatever order a network runs through its layers.
  kept[layer.first_buffer / 2] = std::move(statistics);
}

/// Norm and statistics at once; undefined where the kernel for that does not serve.
Tensor observed(const Normalization& layer, const ForwardPass& pass, const Tensor& x) {
  const ForwardOptions& options = pass.options;
  if (!options.batch_norm_statistics || options.mode != Mode::Eval ||
      options.batch_norm_group > 0 || options.second_order) {
    return {};
  }
  const auto& p = pass.state.parameters;
  const auto& b = pass.state.buffers;
  const kernels::FixedNorm norm{p[layer.first_parameter], p[layer.first_parameter + 1],
                                b[layer.first_buffer], b[layer.first_buffer + 1], kNormEps};
  if (!kernels::serves_observed_norm(x, norm)) return {};
  kernels::ObservedNorm found = kernels::observed_norm(x, norm);
  keep(layer, pass, {found.mean, found.variance});
  return found.y;
}

Tensor normalized(const Normalization& layer, const NetworkState& state, const Tensor& x,
                  Mode mode) {
  // The unbiased running variance divides by the count minus one.
  if (mode != Mode::Eval && x.numel() == x.size(1)) {
    throw ConfigError(str("BatchNorm on batch statistics needs more than one value per channel, ",
                          "found input ", shape_text(x)));
  }
  // Without running statistics there is nothing to update.
  const bool running = mode != Mode::Batch;
  const auto& p = state.parameters;
  const auto& b = state.buffers;
  return at::batch_norm(x, p[layer.first_parameter], p[layer.first_parameter + 1],
                        running ? b[layer.first_buffer] : Tensor(),
                        running ? b[layer.first_buffer + 1] : Tensor(), mode != Mode::Eval,
                        kBatchNormMomentum, kNormEps, /*cudnn_enabled=*/false);
}

}  // namespace

Tensor batch_norm(const Normalization& layer, const ForwardPass& pass, const Tensor& x) {
  const ForwardOptions& options = pass.options;
  if (const Tensor y = observed(layer, pass, x); y.defined()) return y;
  if (options.batch_norm_statistics) {
    keep(layer, pass, statistics(x, options.batch_norm_group));
  }
  const std::int64_t group_size = options.mode == Mode::Eval ? 0 : options.batch_norm_group;
  Tensors groups;
  for (const Tensor& group : image_groups(x, group_size)) {
    groups.push_back(normalized(layer, pass.state, group, options.mode));
  }
  return groups.size() == 1 ? groups[0] : at::cat(groups);
}

}  // namespace retort::nn
