#include "lib/kernels/convnet_forward.h"

#include <algorithm>

#include <torch/csrc/autograd/custom_function.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/kernels/common.h"
#include "lib/kernels/convnet_attention.h"
#include "lib/kernels/convnet_mixed.h"
#include "lib/kernels/held.h"

namespace retort::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ConvNetFeatures : torch::autograd::Function<ConvNetFeatures> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, at::TensorList parameters,
                        const ConvNetShape& shape) {
    bool weights = false;
    for (std::size_t i = 0; i < parameters.size(); i += kPerBlock) {
      weights = weights || parameters[i].requires_grad();
    }
    const auto plan = own_statistics_plan(x.detach().contiguous(), contiguous(parameters), shape);
    std::vector<SavedBlock> blocks;
    const Tensor features = plan->forward(&blocks, weights);
    variable_list saved = {x};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    for (const SavedBlock& block : blocks) {
      saved.insert(saved.end(), {block.input, block.map, block.mean, block.rstd});
    }
    ctx->save_for_backward(std::move(saved));
    hold(ctx, shape);
    return features;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto& shape = held<ConvNetShape>(ctx);
    const std::size_t count = kPerBlock * std::size_t(shape.depth);
    const Tensor& gy = gradients[0];
    const variable_list saved = ctx->get_saved_variables();
    const auto end_of_inputs = saved.begin() + std::ptrdiff_t(count) + 1;
    variable_list result;
    if (at::GradMode::is_enabled()) {
      result = differentiable_gradients(
          [&shape](const Tensors& in) {
            return convnet_features_reference(in[0], std::span(in).subspan(1), shape);
          },
          Tensors(saved.begin(), end_of_inputs), gy);
    } else {
      result = fused_backward(ctx, shape, saved, gy);
    }
    result.resize(count + 2);  // nothing for the shape
    return result;
  }

 private:
  static variable_list fused_backward(AutogradContext* ctx, const ConvNetShape& shape,
                                      const variable_list& saved, const Tensor& gy) {
    const std::size_t count = kPerBlock * std::size_t(shape.depth);
    WantedGradients wanted{ctx->needs_input_grad(0), {}};
    bool any = wanted.input;
    for (std::size_t i = 0; i < count; ++i) {
      wanted.parameters.push_back(ctx->needs_input_grad(i + 1));
      any = any || wanted.parameters.back();
    }
    if (!any) return variable_list(count + 1);
    std::vector<SavedBlock> blocks;
    for (std::size_t i = count + 1; i < saved.size(); i += kPerBlock) {
      blocks.push_back({saved[i], saved[i + 1], saved[i + 2], saved[i + 3]});
    }
    const Tensors parameters(saved.begin() + 1, saved.begin() + std::ptrdiff_t(count) + 1);
    const auto plan =
        own_statistics_plan(saved[0].detach().contiguous(), contiguous(parameters), shape);
    ConvNetGradients found = plan->backward(blocks, gy.contiguous(), wanted);
    variable_list result = {std::move(found.input)};
    result.insert(result.end(), found.parameters.begin(), found.parameters.end());
    return result;
  }
};

void expect_parameters(std::span<const Tensor> parameters, const ConvNetShape& shape) {
  const std::size_t needed = kPerBlock * std::size_t(std::max<std::int64_t>(0, shape.depth));
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
    const auto p = parameters.subspan(kPerBlock * b, kPerBlock);
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
  const auto used = all_parameters.first(kPerBlock * std::size_t(shape.depth));
  const Tensors parameters(used.begin(), used.end());
  const bool record =
      at::GradMode::is_enabled() &&
      (x.requires_grad() || std::any_of(parameters.begin(), parameters.end(),
                                        [](const Tensor& p) { return p.requires_grad(); }));
  if (record) {
    return ConvNetFeatures::apply(x, at::TensorList(parameters), shape);
  }
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
    const auto p = parameters.subspan(kPerBlock * b, kPerBlock);
    map = at::conv2d(map, p[0], p[1], 1, b == 0 ? shape.first_padding : 1);
    map = at::group_norm(map, shape.groups_of(map.size(1)), p[2], p[3], shape.eps);
    map = at::avg_pool2d(at::relu(map), 2);
  }
  return map.flatten(1);
}

}  // namespace retort::kernels
