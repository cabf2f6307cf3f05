#include "lib/nn/chain.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/core/str.h"
#include "lib/kernels/convnet_gradient.h"
#include "lib/kernels/convnet_outputs.h"
#include "lib/kernels/device_block.h"
#include "lib/nn/layers.h"

namespace retort::nn {
namespace {

/// Extra padding of the first convolution for one-channel images (28x28 becomes 32x32).
constexpr std::int64_t kGrayPadding = 2;

/// What the kernel for whole ConvNets needs to know, if it serves this chain.
std::optional<kernels::ConvNetShape> fused_shape(const ChainConfig& config, ImageShape input) {
  const bool plain_blocks =
      std::all_of(config.blocks.begin(), config.blocks.end(),
                  [](const ChainBlock& b) { return b.kernel == 3 && b.padding == 1 && b.pool; });
  // The others have a weight per pixel, or none.
  const bool served_norm =
      config.norm == Norm::Instance || config.norm == Norm::Group || config.norm == Norm::Batch;
  if (config.blocks.empty() || !plain_blocks || !served_norm ||
      config.activation != Activation::Relu || config.pooling != Pooling::Average) {
    return std::nullopt;
  }
  return kernels::ConvNetShape{.depth = std::int64_t(config.blocks.size()),
                               .first_padding = input.channels == 1 ? 1 + kGrayPadding : 1,
                               .eps = kNormEps,
                               .norm_groups = config.norm == Norm::Group ? kNormGroups : 0};
}

class ChainNetwork : public Network {
 public:
  ChainNetwork(const ChainConfig& config, ImageShape input, std::int64_t num_classes);

  ForwardResult forward(const NetworkState& state, const Tensor& x,
                        const ForwardOptions& options) const override;
  Tensors loss_gradients(const NetworkState& state, const Tensor& x,
                         const Tensor& targets) const override;
  std::int64_t macs() const override { return macs_; }

 protected:
  std::unique_ptr<LossGraph> make_loss_graph(const NetworkState& state, const Tensor& x,
                                             const Tensor& targets, LossUse use) const override;

 private:
  struct Block {
    Convolution convolution;
    Normalization normalization;
    Pooling pooling = Pooling::None;
  };

  void add_blocks(Plan& plan, const ChainConfig& config);
  void add_linears(Plan& plan, const ChainConfig& config);
  /// Flattened output of the blocks; fills in `result` what is asked for of the blocks themselves.
  Tensor features(const ForwardPass& pass, const Tensor& x) const;
  /// Whether one kernel can do all blocks and gives all that is asked for.
  bool may_fuse(const ForwardOptions& options) const;
  /// What the kernel for ConvNets with attention or BatchNorm needs to know; without `fused_`, what
  /// the counters do.
  kernels::ConvNetRun fused_run(const ForwardOptions& options) const;
  Tensor apply_block(const Block& block, const ForwardPass& pass, const Tensor& x) const;
  /// What follows the convolution, by a device's kernels; undefined where they do not serve, or
  /// more is asked for than the pooled map.
  Tensor device_block(const Block& block, const NetworkState& state, const Tensor& map,
                      const ForwardOptions& options) const;

  std::vector<Block> blocks_;
  /// Set if one kernel can do all blocks at once: the default ConvNet, and those with GroupNorm and
  /// BatchNorm.
  std::optional<kernels::ConvNetShape> fused_;
  Norm norm_;
  bool fast_convolutions_;
  std::vector<Linear> linears_;
  Activation activation_;
  std::int64_t macs_ = 0;
};

ChainNetwork::ChainNetwork(const ChainConfig& config, ImageShape input, std::int64_t num_classes)
    : Network(config.name, input, num_classes), norm_(config.norm), activation_(config.activation) {
  Plan plan(config.name, input);
  add_blocks(plan, config);
  add_linears(plan, config);
  fused_ = fused_shape(config, input);
  fast_convolutions_ = config.fast_convolutions;
  macs_ = plan.macs;
  parameters_ = std::move(plan.parameters);
  buffers_ = std::move(plan.buffers);
}

void ChainNetwork::add_blocks(Plan& plan, const ChainConfig& config) {
  std::int64_t position = 0;
  const auto next_name = [&position] { return str("features.", position++); };
  for (const ChainBlock& wanted : config.blocks) {
    const bool gray_entry = blocks_.empty() && plan.input.channels == 1;
    Block block;
    block.convolution =
        add_convolution(plan, next_name(),
                        {.channels = wanted.channels,
                         .kernel = wanted.kernel,
                         .padding = wanted.padding + (gray_entry ? kGrayPadding : 0)});
    if (config.norm != Norm::None) {
      block.normalization = add_normalization(plan, next_name(), config.norm);
    }
    ++position;  // the activation
    if (wanted.pool && config.pooling != Pooling::None) {
      block.pooling = config.pooling;
      add_pooling(plan, next_name(), 2);
    }
    blocks_.push_back(block);
  }
}

void ChainNetwork::add_linears(Plan& plan, const ChainConfig& config) {
  std::int64_t features = plan.map.numel();
  for (std::size_t i = 0; i < config.linear_names.size(); ++i) {
    const std::int64_t outputs = i < config.hidden.size() ? config.hidden[i] : num_classes();
    linears_.push_back(add_linear(plan, config.linear_names[i], features, outputs));
    features = outputs;
  }
}

Tensor ChainNetwork::device_block(const Block& block, const NetworkState& state, const Tensor& map,
                                  const ForwardOptions& options) const {
  const bool wanted_alone =
      !options.activation_maps && options.attention_power == 0 && !options.second_order;
  if (!wanted_alone || activation_ != Activation::Relu || block.pooling != Pooling::Average ||
      block.normalization.norm != Norm::Instance) {
    return {};
  }
  const std::size_t weight = block.normalization.first_parameter;
  return kernels::device_block(map, state.parameters[weight], state.parameters[weight + 1],
                               kNormEps);
}

Tensor ChainNetwork::apply_block(const Block& block, const ForwardPass& pass,
                                 const Tensor& x) const {
  const auto& [state, options, result] = pass;
  Tensor map =
      apply(block.convolution, state, x, fast_convolutions_ ? Arithmetic::Fast : Arithmetic::Plain);
  if (Tensor pooled = device_block(block, state, map, options); pooled.defined()) return pooled;
  map = activate(activation_, apply(block.normalization, pass, map));
  if (options.activation_maps) result.activation_maps.push_back(map);
  if (options.attention_power > 0) {
    result.attention.push_back(kernels::attention_sums(map, options.attention_power));
  }
  return pool(block.pooling, map);
}

bool ChainNetwork::may_fuse(const ForwardOptions& options) const {
  if (!fused_ || options.activation_maps || options.second_order) return false;
  if (norm_ != Norm::Batch) return true;
  // The kernels know BatchNorm on running statistics, beside which they look at the batch's, and in
  // training on those of a whole batch.
  if (options.mode == Mode::Eval) return true;
  return options.mode == Mode::Train && !options.batch_norm_statistics &&
         options.batch_norm_group == 0;
}

kernels::ConvNetRun ChainNetwork::fused_run(const ForwardOptions& options) const {
  using kernels::ConvNetNorm;
  kernels::ConvNetRun run{.shape = fused_.value_or(kernels::ConvNetShape{}),
                          .momentum = kBatchNormMomentum,
                          .attention_power = options.attention_power};
  if (norm_ == Norm::Batch) {
    run.norm = options.mode == Mode::Train ? ConvNetNorm::BatchTrain : ConvNetNorm::BatchEval;
    run.statistics = options.batch_norm_statistics && options.mode == Mode::Eval;
    run.statistics_group = options.batch_norm_group;
  }
  return run;
}

Tensor ChainNetwork::features(const ForwardPass& pass, const Tensor& x) const {
  const auto& [state, options, result] = pass;
  const bool features_only = norm_ != Norm::Batch && options.attention_power == 0;
  if (may_fuse(options) && features_only &&
      kernels::serves_convnet_features(x, state.parameters, *fused_)) {
    return kernels::convnet_features(x, state.parameters, *fused_);
  }
  const kernels::ConvNetRun run = fused_run(options);
  if (may_fuse(options) && !features_only &&
      kernels::serves_convnet_outputs(x, state.parameters, state.buffers, run)) {
    auto outputs = kernels::convnet_outputs(x, state.parameters, state.buffers, run);
    result.attention = std::move(outputs.attention);
    for (auto& [mean, variance] : outputs.statistics) {
      result.batch_norm_statistics.push_back({std::move(mean), std::move(variance)});
    }
    return outputs.features;
  }
  if (!blocks_.empty()) kernels::count_convnet_fallback(run);
  Tensor map = x;
  for (const Block& block : blocks_) map = apply_block(block, pass, map);
  return map.flatten(1);
}

ForwardResult ChainNetwork::forward(const NetworkState& state, const Tensor& x,
                                    const ForwardOptions& options) const {
  expect_matching(state, x);
  ForwardResult result;
  Tensor hidden = features({state, options, result}, x);
  for (std::size_t i = 0; i + 1 < linears_.size(); ++i) {
    hidden = activate(activation_, apply(linears_[i], state, hidden));
  }
  result.embedding = hidden;
  if (options.logits) result.logits = apply(linears_.back(), state, hidden);
  return result;
}

Tensors ChainNetwork::loss_gradients(const NetworkState& state, const Tensor& x,
                                     const Tensor& targets) const {
  expect_matching(state, x, targets);
  const bool fused = fused_.has_value() && linears_.size() == 1;
  if (fused &&
      kernels::serves_convnet_loss_gradients(x, state.parameters, *fused_, state.buffers)) {
    return kernels::convnet_loss_gradients(x, targets, state.parameters, *fused_, state.buffers);
  }
  return Network::loss_gradients(state, x, targets);
}

std::unique_ptr<LossGraph> ChainNetwork::make_loss_graph(const NetworkState& state, const Tensor& x,
                                                         const Tensor& targets, LossUse use) const {
  Tensors parameters;
  for (const Tensor& p : state.parameters) parameters.push_back(p.detach());
  const bool fused = fused_.has_value() && linears_.size() == 1;
  if (fused && kernels::serves_convnet_loss_gradients(x, parameters, *fused_, state.buffers)) {
    return kernels::convnet_loss_graph(x, targets, parameters, *fused_, state.buffers, use);
  }
  return Network::make_loss_graph(state, x, targets, use);
}

}  // namespace

std::unique_ptr<Network> make_chain(const ChainConfig& config, ImageShape input,
                                    std::int64_t num_classes) {
  return std::make_unique<ChainNetwork>(config, input, num_classes);
}

}  // namespace retort::nn
