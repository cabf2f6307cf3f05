#pragma once
// The opponent's distribution matching and attention matching.

#include <cstdint>
#include <vector>

#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "tests/bench/plain_convnet.h"

namespace retort::bench {

/// Matching on images of its own.
class PlainMatching {
 public:
  enum class Kind { Distribution, Attention };
  struct Setting {
    Kind kind = Kind::Distribution;
    Style style = Style::Papers;
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
  struct Gradient {
    Tensor images;  ///< [K*ipc,C,H,W]
    Tensor loss;    ///< scalar, summed over classes
  };

  /// @param start [K*ipc,C,H,W], copied; its dtype is that of all computation
  /// @param rng the root stream of the run to be compared with
  PlainMatching(Setting setting, const Tensor& start, Rng rng);

  /// One update of the images.
  Gradient update(std::int64_t iteration);
  const Tensor& images() const { return images_; }
  /// For every threshold of the synthetic half's ReLUs; see check.h.
  std::vector<Gradient> gradients(std::int64_t iteration,
                                  const std::vector<double>& relu_thresholds) const;

 private:
  /// Means over a class's real images.
  struct Target {
    Tensor embedding;   ///< [F]
    Tensors attention;  ///< per block but the last [h*w]
  };
  struct Halves {
    Tensor real;
    Tensor synthetic;
  };
  struct Classes {
    std::int64_t first = 0;
    std::int64_t count = 0;
  };

  nn::NetworkState network_of(std::int64_t iteration) const;
  Halves sample_class(const Rng& rng, std::int64_t c, const Tensor& stored) const;
  std::vector<Target> targets(const nn::NetworkState& state, const Tensors& real) const;
  Tensor loss(const nn::NetworkState& state, const std::vector<Target>& targets,
              const Tensors& synthetic, double relu_threshold) const;
  std::vector<Gradient> pass(const nn::NetworkState& state, const Rng& rng, Classes classes,
                             const std::vector<double>& relu_thresholds) const;

  Setting setting_;
  Tensor images_;
  Tensor velocity_;
  Rng rng_;
};

}  // namespace retort::bench
