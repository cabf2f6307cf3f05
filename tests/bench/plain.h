#pragma once
// The opponent: ConvNet, matching iteration and training epoch written the way the papers' code is,
// one class after the other, whole batches, one LibTorch operation per layer. It shares with the
// library what decides which numbers come out (draws, initial parameters, the augmentation), and
// nothing of how they are computed.

#include <cstdint>
#include <vector>

#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::bench {

struct PlainResult {
  Tensor logits;       ///< [N,K]
  Tensor embedding;    ///< [N,F]
  Tensors activation;  ///< per block [N,C,h,w], before pooling

  /// Rows first .. first+count-1 of embedding and activations.
  PlainResult rows(std::int64_t first, std::int64_t count) const;
};

/// ConvNet-D with InstanceNorm (as GroupNorm, like the papers' code) or BatchNorm, training mode.
PlainResult plain_convnet(const nn::Network& like, const nn::NetworkState& state, const Tensor& x);

/// Distribution matching or attention matching on images of its own.
class PlainMatching {
 public:
  enum class Kind { Distribution, Attention };
  struct Setting {
    Kind kind = Kind::Distribution;
    const nn::Network& network;
    Tensor images;     ///< all real training images, preprocessed
    Tensors of_class;  ///< int64 indices into them, per class
    std::int64_t batch_real = 256;
    std::int64_t ipc = 10;
    augment::Strategy augmentation;
    double lr = 1;
    double momentum = 0.5;
    double lambda = 0.01;  ///< Attention: weight of the embedding term
  };

  /// @param start [K*ipc,C,H,W], copied  @param rng the root stream of the run to be compared with
  PlainMatching(Setting setting, const Tensor& start, Rng rng);

  /// One update of the images. @return the loss, summed over classes
  double update(std::int64_t iteration);
  const Tensor& velocity() const { return velocity_; }  ///< after one update: the gradient

 private:
  struct Batches {
    Tensors real;
    Tensors synthetic;
  };
  void add_class(const Rng& rng, std::int64_t c, Batches& batches) const;
  Tensor class_loss(const PlainResult& real, const PlainResult& synthetic) const;
  Tensor pass_loss(const nn::NetworkState& state, const Batches& batches) const;

  Setting setting_;
  Tensor images_;
  Tensor velocity_;
  Rng rng_;
};

/// Images, hard labels and the recipe of one evaluation network.
struct PlainTraining {
  Tensor images;  ///< [N,C,H,W]
  Tensor labels;  ///< int64 [N]
  augment::Strategy augmentation;
  std::int64_t batch_size = 256;
  double lr = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
};

/// One epoch with a new optimiser, updating `state`. @return mean loss
double plain_epoch(const PlainTraining& training, const nn::Network& like, nn::NetworkState& state,
                   const Rng& rng);

}  // namespace retort::bench
