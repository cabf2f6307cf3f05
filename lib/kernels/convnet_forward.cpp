#include "lib/kernels/convnet_forward.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/kernels/common.h"
#include "lib/kernels/convnet_attention.h"
#include "lib/kernels/convnet_mixed.h"
#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

Tensors fused_gradients(const ConvNetShape& shape, const BackwardPass& pass) {
  if (std::find(pass.needed.begin(), pass.needed.end(), true) == pass.needed.end()) return {};
  const WantedGradients wanted{pass.needed[0], {pass.needed.begin() + 1, pass.needed.end()}};
  const Tensors& saved = pass.saved;
  const std::size_t inputs = pass.needed.size();
  const std::vector<SavedBlock> blocks = unflattened(at::TensorList(saved).slice(inputs));
  const auto plan =
      own_statistics_plan(saved[0].detach().contiguous(),
                          contiguous(at::TensorList(saved).slice(1, inputs - 1)), shape);
  ConvNetGradients found = plan->backward(blocks, pass.gradients[0].contiguous(), wanted);
  Tensors result = {std::move(found.input)};
  result.insert(result.end(), found.parameters.begin(), found.parameters.end());
  return result;
}

Tensors reference_gradients(const ConvNetShape& shape, const BackwardPass& pass) {
  const auto end_of_inputs = pass.saved.begin() + std::ptrdiff_t(pass.needed.size());
  return differentiable_gradients(
      [&shape](const Tensors& in) {
        return convnet_features_reference(in[0], std::span(in).subspan(1), shape);
      },
      Tensors(pass.saved.begin(), end_of_inputs), pass.gradients[0]);
}

Tensor recorded_features(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape) {
  Tensors inputs = {x};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  const auto forward = [&] {
    const auto plan = own_statistics_plan(x.detach().contiguous(), contiguous(parameters), shape);
    std::vector<SavedBlock> blocks;
    const Tensor features = plan->forward(&blocks, any_weight_requires_grad(parameters));
    Tensors saved = inputs;
    const Tensors kept = flattened(blocks);
    saved.insert(saved.end(), kept.begin(), kept.end());
    return Recorded{{features}, std::move(saved), [shape](const BackwardPass& pass) {
                      return at::GradMode::is_enabled() ? reference_gradients(shape, pass)
                                                        : fused_gradients(shape, pass);
                    }};
  };
  return record(inputs, forward)[0];
}

void expect_parameters(std::span<const Tensor> parameters, const ConvNetShape& shape) {
  const std::size_t needed =
      kParametersPerBlock * std::size_t(std::max<std::int64_t>(0, shape.depth));
  if (shape.depth < 1 || parameters.size() < needed) {
    throw ConfigError(str("ConvNet features: a depth of ", shape.depth, " needs ", needed,
                          " parameters and at least one block, found ", parameters.size()));
  }
}

bool matches(const Tensor& p, at::IntArrayRef sizes) {
  return is_fast_parameter(p) && p.sizes() == sizes;
}

}  // namespace

bool serves_convnet_features(const Tensor& x, std::span<const Tensor> parameters,
                             const ConvNetShape& shape) {
  expect_parameters(parameters, shape);
  if (!is_fast_map(x)) return false;
  std::int64_t channels = x.size(1);
  std::int64_t height = x.size(2) + 2 * shape.first_padding - 2;
  std::int64_t width = x.size(3) + 2 * shape.first_padding - 2;
  if (shape.norm_groups < 0 || shape.first_padding < 0 ||
      (channels > kMostDirectChannels && shape.first_padding != 1)) {
    return false;
  }
  for (std::size_t b = 0; b < std::size_t(shape.depth); ++b) {
    const auto p = parameters.subspan(kParametersPerBlock * b, kParametersPerBlock);
    if (height < 2 || width < 2 || !p[0].defined() || p[0].dim() != 4) return false;
    const std::int64_t out = p[0].size(0);
    if (out < 1 || !matches(p[0], {out, channels, 3, 3}) || !matches(p[1], {out}) ||
        !matches(p[2], {out}) || !matches(p[3], {out}) || out % shape.groups_of(out) != 0) {
      return false;
    }
    channels = out;
    height /= 2;
    width /= 2;
  }
  return true;
}

Tensor convnet_features(const Tensor& x, std::span<const Tensor> all_parameters,
                        const ConvNetShape& shape) {
  if (!serves_convnet_features(x, all_parameters, shape)) {
    count(&Counters::convnet_fallback);
    return convnet_features_reference(x, all_parameters, shape);
  }
  count(&Counters::convnet_fast);
  const auto used = all_parameters.first(kParametersPerBlock * std::size_t(shape.depth));
  const Tensors parameters(used.begin(), used.end());
  const bool differentiable =
      at::GradMode::is_enabled() &&
      (x.requires_grad() || std::any_of(parameters.begin(), parameters.end(),
                                        [](const Tensor& p) { return p.requires_grad(); }));
  if (differentiable) return recorded_features(x, parameters, shape);
  const Tensor images = x.detach().contiguous();
  if (precision() == Precision::Mixed && processor_gains_by_mixed() &&
      serves_convnet_mixed(parameters, shape)) {
    count(&Counters::convnet_mixed);
    return convnet_features_mixed(images, parameters, shape);
  }
  return own_statistics_plan(images, contiguous(parameters), shape)->forward(nullptr, false);
}

Tensor convnet_features_reference(const Tensor& x, std::span<const Tensor> parameters,
                                  const ConvNetShape& shape) {
  expect_parameters(parameters, shape);
  Tensor map = x;
  for (std::size_t b = 0; b < std::size_t(shape.depth); ++b) {
    const auto p = parameters.subspan(kParametersPerBlock * b, kParametersPerBlock);
    map = at::conv2d(map, p[0], p[1], 1, b == 0 ? shape.first_padding : 1);
    map = at::group_norm(map, shape.groups_of(map.size(1)), p[2], p[3], shape.eps);
    map = at::avg_pool2d(at::relu(map), 2);
  }
  return map.flatten(1);
}

}  // namespace retort::kernels
