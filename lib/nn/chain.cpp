#include "lib/nn/chain.h"

#include <utility>

#include "lib/core/str.h"
#include "lib/nn/layers.h"

namespace retort::nn {
namespace {

/// Extra padding of the first convolution for one-channel images (28x28 becomes 32x32).
constexpr std::int64_t kGrayPadding = 2;

class ChainNetwork : public Network {
 public:
  ChainNetwork(const ChainConfig& config, ImageShape input, std::int64_t num_classes);

  ForwardResult forward(const NetworkState& state, const Tensor& x,
                        const ForwardOptions& options) const override;
  std::int64_t macs() const override { return macs_; }

 private:
  struct Block {
    Convolution convolution;
    Normalization normalization;
    Pooling pooling = Pooling::None;
  };

  void add_blocks(Plan& plan, const ChainConfig& config);
  void add_linears(Plan& plan, const ChainConfig& config);
  Tensor apply_block(const Block& block, const NetworkState& state, const Tensor& x,
                     const ForwardOptions& options, Tensors& activation_maps) const;

  std::vector<Block> blocks_;
  std::vector<Linear> linears_;
  Activation activation_;
  std::int64_t macs_ = 0;
};

ChainNetwork::ChainNetwork(const ChainConfig& config, ImageShape input, std::int64_t num_classes)
    : Network(config.name, input, num_classes), activation_(config.activation) {
  Plan plan(config.name, input);
  add_blocks(plan, config);
  add_linears(plan, config);
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

Tensor ChainNetwork::apply_block(const Block& block, const NetworkState& state, const Tensor& x,
                                 const ForwardOptions& options, Tensors& activation_maps) const {
  Tensor map = apply(block.convolution, state, x);
  map = activate(activation_, apply(block.normalization, state, map, options.mode));
  if (options.activation_maps) activation_maps.push_back(map);
  return pool(block.pooling, map);
}

ForwardResult ChainNetwork::forward(const NetworkState& state, const Tensor& x,
                                    const ForwardOptions& options) const {
  expect_matching(state, x);
  ForwardResult result;
  Tensor hidden = x;
  for (const Block& block : blocks_) {
    hidden = apply_block(block, state, hidden, options, result.activation_maps);
  }
  hidden = hidden.flatten(1);
  for (std::size_t i = 0; i + 1 < linears_.size(); ++i) {
    hidden = activate(activation_, apply(linears_[i], state, hidden));
  }
  result.embedding = hidden;
  if (options.logits) result.logits = apply(linears_.back(), state, hidden);
  return result;
}

}  // namespace

std::unique_ptr<Network> make_chain(const ChainConfig& config, ImageShape input,
                                    std::int64_t num_classes) {
  return std::make_unique<ChainNetwork>(config, input, num_classes);
}

}  // namespace retort::nn
