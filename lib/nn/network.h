#pragma once
// Functional networks: an immutable architecture, and parameters that are passed in.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/data/preprocessing.h"
#include "lib/kernels/loss_graph.h"

namespace retort::nn {

using data::ImageShape;
using kernels::LossGraph;
using kernels::LossProducts;
using kernels::LossUse;
using kernels::WantedProducts;

enum class Norm { None, Batch, Layer, Instance, Group };
enum class Activation { Relu, LeakyRelu, Sigmoid, Swish };
enum class Pooling { None, Max, Average };

/// How one parameter starts (PyTorch's defaults; Kim et al.'s ResNets differ).
enum class Init {
  UniformFanIn,
  NormalFanOut,  ///< N(0, 2/fan_out) for convolutions: torchvision's ResNets (He et al. 2015)
  One,
  Zero,
};

struct ParameterInfo {
  std::string name;  ///< "features.0.weight", as in the reference code
  std::vector<std::int64_t> shape;
  Init init = Init::UniformFanIn;
  std::int64_t fan_in = 1;  ///< for UniformFanIn: U(-1/sqrt(fan_in), 1/sqrt(fan_in))
};

struct BufferInfo {
  std::string name;  ///< "features.1.running_mean"
  std::vector<std::int64_t> shape;
  double initial = 0;
};

/// Parameters and buffers of one network, in the order of Network::parameters() / buffers().
/// Buffers are BatchNorm running statistics; a training-mode forward updates them in place.
struct NetworkState {
  Tensors parameters;
  Tensors buffers;

  NetworkState detached_clone() const;
  NetworkState to(at::Device device) const;  ///< shares what is on `device` already
};

enum class Mode {
  Eval,   ///< BatchNorm uses running statistics
  Train,  ///< BatchNorm uses batch statistics and updates the running ones (momentum 0.1)
  Batch,  ///< BatchNorm uses batch statistics and leaves the running ones; all else as Eval
};

struct ForwardOptions {
  Mode mode = Mode::Eval;
  bool logits = true;            ///< false: skip the classifier
  bool activation_maps = false;  ///< keep the output of every block's activation, before pooling
  double attention_power = 0;    ///< p > 0: sum |activation|^p over channels, for every block
  bool second_order = false;     ///< the result will be differentiated twice: no fused blocks
  bool batch_norm_statistics = false;  ///< keep those of every BatchNorm layer's input, in any mode
  /// g > 0: batch statistics, used or kept, are those of every g consecutive images; the last group
  /// may be smaller. Mode::Train updates the running ones group after group. 0: of the whole batch.
  std::int64_t batch_norm_group = 0;
};

/// Of one BatchNorm layer's input, per channel, over images and positions.
struct BatchStatistics {
  Tensor mean;      ///< [C]; [G,C] where there are groups of images
  Tensor variance;  ///< of the same shape; biased: divided by the number of values
};

struct ForwardResult {
  Tensor logits;     ///< [N,K]; undefined when not asked for
  Tensor embedding;  ///< [N,F], the flattened input of the last linear layer
  /// Per convolution block [N,C,h,w]; empty when not asked for, and for MLP and ResNets.
  Tensors activation_maps;
  /// For every activation map there would be, [N,h*w]: its sum over channels of |F|^p. Empty when
  /// not asked for. Costs much less than the maps.
  Tensors attention;
  /// Per BatchNorm layer in the order of the buffers, where the running mean and variance of layer
  /// l are the entries 2l and 2l+1; differentiable in x and parameters. Empty when not asked for.
  std::vector<BatchStatistics> batch_norm_statistics;
};

/// One architecture for one input shape and class count.
class Network {
 public:
  virtual ~Network() = default;

  const std::string& name() const { return name_; }  ///< "ConvNet-3-BN"
  ImageShape input() const { return input_; }
  std::int64_t num_classes() const { return num_classes_; }
  const std::vector<ParameterInfo>& parameters() const { return parameters_; }
  const std::vector<BufferInfo>& buffers() const { return buffers_; }
  std::int64_t parameter_count() const;
  bool has_batch_norm() const { return !buffers_.empty(); }
  /// True if an image's output does not depend on the others of its batch, so that batches may be
  /// cut freely: everything but BatchNorm on batch statistics.
  bool per_sample(Mode mode) const { return mode == Mode::Eval || !has_batch_norm(); }

  /// @param x [N,C,H,W], dtype of the parameters; differentiable in parameters and x
  virtual ForwardResult forward(const NetworkState& state, const Tensor& x,
                                const ForwardOptions& options = {}) const = 0;
  /// Gradients of the mean cross-entropy  -1/N sum_nk targets_nk log softmax(logits)_nk  with
  /// respect to every parameter, BatchNorm on its running statistics. Differentiable in whatever of
  /// x, targets and parameters requires a gradient.
  /// @param targets [N,K], dtype of the parameters  @return shaped like the parameters
  virtual Tensors loss_gradients(const NetworkState& state, const Tensor& x,
                                 const Tensor& targets) const;
  /// The same gradients without autograd, and their products with a direction of the parameters
  /// afterwards: what loss_gradients gives when differentiated in x, targets and parameters. On the
  /// CPU the bits do not depend on the number of threads.
  /// @param x [N,C,H,W] @param targets [N,K] probabilities, dtype of the parameters; no graph of
  ///        any of them is looked at
  /// @param use what is not asked for is not computed; the rest has the same bits
  std::unique_ptr<LossGraph> loss_graph(const NetworkState& state, const Tensor& x,
                                        const Tensor& targets, LossUse use = {}) const;
  /// Multiply-accumulates of one image's forward pass.
  virtual std::int64_t macs() const = 0;

  /// Fresh random state, float32; every parameter from its own child stream, drawn on the CPU.
  NetworkState initialize(const Rng& rng, at::Device device = at::kCPU) const;

 protected:
  Network(std::string name, ImageShape input, std::int64_t num_classes);
  /// By autograd, where kernels do not serve.
  virtual std::unique_ptr<LossGraph> make_loss_graph(const NetworkState& state, const Tensor& x,
                                                     const Tensor& targets, LossUse use) const;
  /// Throws ConfigError unless x has the input shape and `state` the right number of tensors.
  void expect_matching(const NetworkState& state, const Tensor& x) const;
  /// The same, and unless targets are [N,K].
  void expect_matching(const NetworkState& state, const Tensor& x, const Tensor& targets) const;

  std::vector<ParameterInfo> parameters_;
  std::vector<BufferInfo> buffers_;

 private:
  std::string name_;
  ImageShape input_;
  std::int64_t num_classes_;
};

struct ConvNetConfig {
  std::int64_t width = 128;
  std::int64_t depth = 3;
  Norm norm = Norm::Instance;
  Activation activation = Activation::Relu;
  Pooling pooling = Pooling::Average;
};

/// The DC/DSA/DM ConvNet. Throws ConfigError when the image is too small for `depth` poolings.
std::unique_ptr<Network> make_convnet(const ConvNetConfig& config, ImageShape input,
                                      std::int64_t num_classes);

/// By name: ConvNet[-D][-BN|-LN|-GN|-IN|-NN][-w64][-sigmoid|-leakyrelu|-swish][-max|-nopool], MLP,
/// LeNet, AlexNet[-BN], VGG-11[-BN], ResNet-18[-BN][-AP], R18m[-w16], R50m, R101m, ResNet-18-224,
/// MobileNetV2, EfficientNet-B0, ShuffleNetV2-0.5, ShuffleNet-G2, DenseNet-121; the papers'
/// spellings (ConvNet, ConvNetD3, ConvNetBN, VGG11, ResNet18BN_AP, ...) are aliases.
/// @throws ConfigError for an unknown name, spelling out the known ones
std::unique_ptr<Network> make_network(const std::string& name, ImageShape input,
                                      std::int64_t num_classes);

struct NetworkFamily {
  std::string name;         ///< "ConvNet-3"
  std::string pattern;      ///< "ConvNet-D[-BN|-LN|-GN|-IN|-NN][-wW]..."
  std::string description;  ///< one line, with the paper
};
const std::vector<NetworkFamily>& network_families();

/// All parameters as one vector, and back (views when possible).
Tensor flatten(const Tensors& parameters);  ///< [P]
Tensors unflatten(const Tensor& flat, const std::vector<ParameterInfo>& layout);

/// ConvNet depth rule of the papers: log2(height) - 2, so that the last map is 4x4; at least 1.
std::int64_t default_convnet_depth(ImageShape input);

}  // namespace retort::nn
