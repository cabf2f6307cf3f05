#include "lib/nn/parts.h"

#include <utility>

namespace retort::nn {
namespace {

class PooledNetwork : public Network {
 public:
  PooledNetwork(Plan plan, Part body, const std::string& classifier, std::int64_t num_classes);

  ForwardResult forward(const NetworkState& state, const Tensor& x,
                        const ForwardOptions& options) const override;
  std::int64_t macs() const override { return macs_; }

 private:
  Part body_;
  Linear classifier_;
  std::int64_t macs_ = 0;
};

PooledNetwork::PooledNetwork(Plan plan, Part body, const std::string& classifier,
                             std::int64_t num_classes)
    : Network(plan.network, plan.input, num_classes), body_(std::move(body)) {
  classifier_ = add_linear(plan, classifier, plan.map.channels, num_classes);
  macs_ = plan.macs;
  parameters_ = std::move(plan.parameters);
  buffers_ = std::move(plan.buffers);
}

ForwardResult PooledNetwork::forward(const NetworkState& state, const Tensor& x,
                                     const ForwardOptions& options) const {
  expect_matching(state, x);
  ForwardResult result;
  result.embedding = body_({state, options, result}, x).mean({2, 3});
  if (options.logits) result.logits = apply(classifier_, state, result.embedding);
  return result;
}

}  // namespace

Part sequence(std::vector<Part> parts) {
  return [parts = std::move(parts)](const ForwardPass& pass, const Tensor& x) {
    Tensor map = x;
    for (const Part& part : parts) map = part(pass, map);
    return map;
  };
}

ConvNorm add_conv_norm(Plan& plan, const std::string& convolution, const std::string& norm,
                       ConvolutionOptions options) {
  options.bias = false;
  ConvNorm layer;
  layer.convolution = add_convolution(plan, convolution, options);
  layer.normalization = add_normalization(plan, norm, Norm::Batch);
  return layer;
}

Tensor apply(const ConvNorm& layer, const ForwardPass& pass, const Tensor& x) {
  return apply(layer.normalization, pass,
               apply(layer.convolution, pass.state, x, Arithmetic::Fast));
}

NormConv add_norm_conv(Plan& plan, const std::string& norm, const std::string& convolution,
                       ConvolutionOptions options) {
  options.bias = false;
  NormConv layer;
  layer.normalization = add_normalization(plan, norm, Norm::Batch);
  layer.convolution = add_convolution(plan, convolution, options);
  return layer;
}

Tensor apply(const NormConv& layer, const ForwardPass& pass, const Tensor& x) {
  return apply(layer.convolution, pass.state, at::relu(apply(layer.normalization, pass, x)));
}

Part add_bare_convolution(Plan& plan, const std::string& name, ConvolutionOptions options) {
  options.bias = false;
  const Convolution layer = add_convolution(plan, name, options);
  return [layer](const ForwardPass& pass, const Tensor& x) { return apply(layer, pass.state, x); };
}

Part add_norm_relu(Plan& plan, const std::string& name) {
  const Normalization layer = add_normalization(plan, name, Norm::Batch);
  return
      [layer](const ForwardPass& pass, const Tensor& x) { return at::relu(apply(layer, pass, x)); };
}

ConvolutionOptions pointwise(std::int64_t channels, std::int64_t groups) {
  return {.channels = channels, .kernel = 1, .padding = 0, .groups = groups};
}

ConvolutionOptions depthwise(std::int64_t channels, std::int64_t stride, std::int64_t kernel) {
  return {.channels = channels,
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .groups = channels};
}

Tensor shuffle_channels(const Tensor& x, std::int64_t groups) {
  if (groups == 1) return x;
  return x.unflatten(1, {groups, x.size(1) / groups}).transpose(1, 2).flatten(1, 2);
}

std::unique_ptr<Network> make_pooled(Plan plan, Part body, const std::string& classifier,
                                     std::int64_t num_classes) {
  return std::make_unique<PooledNetwork>(std::move(plan), std::move(body), classifier, num_classes);
}

}  // namespace retort::nn
