#pragma once
// The opponent's second order. Gradient matching (Zhao, Mopuri, Bilen, ICLR 2021): the distance
// between the parameter gradients of real and synthetic images, and its gradient in the synthetic
// images. A step of trajectory matching's way back: gradients, and their products with a direction.

#include <cstdint>
#include <vector>

#include "tests/bench/plain_convnet.h"

namespace retort::bench {

struct ClassImages {
  std::int64_t label = 0;
  Tensor real;       ///< [B,C,H,W]
  Tensor synthetic;  ///< [n,C,H,W]
};

struct ImageGradient {
  Tensor images;    ///< [sum of n,C,H,W], class after class
  Tensor distance;  ///< scalar: sum over classes, weights and their output rows of 1 - cosine
};

/// Sum over output rows of 1 - cosine; biases and norm scales count nothing.
Tensor row_distance(const Tensors& real, const Tensors& synthetic);

/// For every threshold of the synthetic half's ReLUs; see check.h.
std::vector<ImageGradient> plain_image_gradients(Style style, const nn::Network& like,
                                                 const nn::NetworkState& state,
                                                 const std::vector<ClassImages>& classes,
                                                 const std::vector<double>& relu_thresholds = {0});

/// Gradients of a mean cross-entropy, and the derivatives of their product with `directions`.
struct PlainProducts {
  Tensors gradients;
  Tensor images, targets;
  Tensors parameters;
};

/// For every threshold of the ReLUs.
/// @param targets [N,K]  @param directions shaped like the parameters
std::vector<PlainProducts> plain_products(Style style, const nn::Network& like,
                                          const nn::NetworkState& state, const Tensor& images,
                                          const Tensor& targets, const Tensors& directions,
                                          const std::vector<double>& relu_thresholds = {0});

}  // namespace retort::bench
