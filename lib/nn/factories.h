#pragma once
// Networks that exist in a few fixed forms; internal to lib/nn, reached through make_network.

#include <cstdint>
#include <memory>

#include "lib/nn/network.h"

namespace retort::nn {

/// Flatten -> 128 -> ReLU -> 128 -> ReLU -> K.
std::unique_ptr<Network> make_mlp(ImageShape input, std::int64_t num_classes);

/// Two 5x5 convolutions (6, 16) with ReLU and max pooling, then 120 -> 84 -> K.
std::unique_ptr<Network> make_lenet(ImageShape input, std::int64_t num_classes);

/// The small-image AlexNet: five convolutions, no dropout, one linear layer.
/// @param norm None or Batch
std::unique_ptr<Network> make_alexnet(Norm norm, ImageShape input, std::int64_t num_classes);

/// The small-image VGG-11: one linear layer on the last map (1x1 for 32x32 images).
/// @param norm Instance or Batch
std::unique_ptr<Network> make_vgg11(Norm norm, ImageShape input, std::int64_t num_classes);

/// How a ResNet halves its maps.
enum class Downsampling {
  Stride,          ///< stride-2 convolutions; 4x4 average pooling before the classifier
  AveragePooling,  ///< 2x2 average pooling after stride-1 convolutions; no final pooling ("AP")
};

/// The small-image ResNet-18: 3x3 stem without pooling, four stages of two basic blocks.
/// @param norm Instance or Batch
std::unique_ptr<Network> make_resnet18(Norm norm, Downsampling downsampling, ImageShape input,
                                       std::int64_t num_classes);

}  // namespace retort::nn
