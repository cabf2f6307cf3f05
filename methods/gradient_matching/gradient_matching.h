#pragma once

#include <string>

#include "methods/gradient_matching/gradient_distance.h"
#include "methods/matching/matching_method.h"

namespace retort::methods::gradient_matching {

/// Gradients of the mean cross-entropy with respect to all parameters, without a graph.
/// BatchNorm uses its running statistics, as in the released code.
/// @param images [N,C,H,W]  @param labels int64 [N]  @return in the order of the parameters
Tensors real_gradients(const matching::Lens& lens, const Tensor& images, const Tensor& labels);

/// The same with a graph to the images, if they carry one.
Tensors differentiable_gradients(const matching::Lens& lens, const Tensor& images,
                                 const Tensor& labels);

/// Sum over classes of the distance between the gradients of the mean cross-entropy of the real
/// batch and of the synthetic images with respect to the parameters:
///   L = sum_c D(grad CE(R_c, c), grad CE(S_c, c))
/// (Zhao, Mopuri, Bilen, ICLR 2021, equation 10). The real gradient carries no graph. BatchNorm
/// layers use their running statistics, so classes share nothing.
class GradientObjective : public matching::Objective {
 public:
  explicit GradientObjective(Metric metric, Scope scope = Scope::All)
      : metric_(metric), scope_(scope) {}
  /// @throws ConfigError if the network has no parameters in the scope
  void check(const nn::Network& network) const override;
  /// Real: forward and weight gradients. Synthetic: twice through the network and back for the
  /// input gradient, measured in multiples of the forward pass.
  matching::LossCost cost() const override {
    return {.real = 2.93, .synthetic = 7.79, .synthetic_pass = Pass::SecondOrder};
  }
  bool joint(const nn::Network&) const override { return false; }
  bool uses_running_statistics() const override { return true; }
  Tensors real_half(const matching::Lens& lens, std::int64_t class_index,
                    const Tensor& real) const override;
  matching::Loss loss(const matching::Lens& lens,
                      const std::vector<matching::ClassPair>& classes) const override;

 private:
  Metric metric_;
  Scope scope_;
};

/// `gm`. Networks trained on real data and Adam on the images: what gives most per minute on two
/// cores.
struct Options : matching::MatchingOptions {
  Options() {
    iterations = 200;
    batch_real = 64;
    networks = "trained";
    image_optimizer = "adam";
    image_momentum = 0.9;
    lr_images = 0.02;
  }
  std::string metric = "rows";

  void describe(config::OptionTable& table);
};

/// `dc`: networks trained on the synthetic set between its updates.
struct DcOptions : Options {
  DcOptions() {
    iterations = -1;
    iterations_by_ipc = true;
    batch_real = 256;
    image_optimizer = "sgd";
    image_momentum = 0.5;
    lr_images = 0.1;
    init = "noise";
    augmentation = "none";
    networks = "synthetic";
    net_period = 0;
    net_epochs = 0;
    net_batch = 256;
    net_momentum = 0;
    net_weight_decay = 0;
  }
};

/// `dsa`: dc with augmentation, from real images.
struct DsaOptions : DcOptions {
  DsaOptions() {
    init = "random";
    augmentation = "auto";
    net_augmentation = "auto";
  }
};

/// `idc`: multi-formation images in [0,1], networks trained on real data, a step per class.
struct IdcOptions : matching::MatchingOptions {
  IdcOptions() {
    iterations = 200000;
    batch_real = 64;
    real_batches = "stream";
    image_optimizer = "class-loop";
    image_momentum = 0.5;
    lr_images = 5e-3;
    lr_reference_side = 32;
    image_space = "pixels";
    clamp_every = 100;
    init = "first";
    factor = 2;
    max_decoded = 128;
    augmentation = "color_crop_cutout";
    augmentation_style = "idc";
    networks = "trained";
    net_period = 100;
    net_steps = 32;
    net_augmentation = "color_crop";
    net_cutmix = 0.5;
  }
  std::string metric = "mse";
  std::string match_parameters = "convolutions";

  void describe(config::OptionTable& table);
};

class GradientMatching : public matching::MatchingMethod {
 public:
  explicit GradientMatching(const Options& options)
      : MatchingMethod(options, std::make_unique<GradientObjective>(parse_metric(options.metric))) {
  }
};

class Idc : public matching::MatchingMethod {
 public:
  explicit Idc(const IdcOptions& options);
};

MethodInfo info();
MethodInfo dc_info();
MethodInfo dsa_info();
MethodInfo idc_info();

}  // namespace retort::methods::gradient_matching
