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

// The networks of decoupled methods. All have BatchNorm, average the whole last map and leave out
// dropout and drop-connect.

/// torchvision's ResNet-18 with a 3x3 stem of stride 1 and no max pooling.
/// @param width channels of the stem and the first stage; torchvision's is 64
std::unique_ptr<Network> make_r18m(std::int64_t width, ImageShape input, std::int64_t num_classes);
/// The same of ResNet-50 and ResNet-101.
std::unique_ptr<Network> make_r50m(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_r101m(ImageShape input, std::int64_t num_classes);
/// torchvision's ResNet-18 as it is, for images of 64 pixels and more.
std::unique_ptr<Network> make_resnet18_224(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_resnet50_224(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_resnet101_224(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_mobilenet_v2_224(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_shufflenet_v2_224(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_shufflenet_v2_whole_224(ImageShape input, std::int64_t num_classes);
std::unique_ptr<Network> make_densenet121_224(ImageShape input, std::int64_t num_classes);
/// torchvision's ResNet-18 with a 3x3 stem of stride 2 and padding 3 and no max pooling.
std::unique_ptr<Network> make_resnet18_guard(ImageShape input, std::int64_t num_classes);

/// Three of its strides; every block of stride 1 has a shortcut.
std::unique_ptr<Network> make_mobilenet_v2(ImageShape input, std::int64_t num_classes);
/// Half width but for the head, a stem of stride 2; shortcuts where a block keeps the map's shape.
std::unique_ptr<Network> make_mobilenet_v2_half(ImageShape input, std::int64_t num_classes);
/// Four of its strides, the classifier on the last block's 320 channels.
std::unique_ptr<Network> make_efficientnet_b0(ImageShape input, std::int64_t num_classes);
/// Half width (48, 96, 192 channels), no max pooling.
std::unique_ptr<Network> make_shufflenet_v2(ImageShape input, std::int64_t num_classes);
/// The same with a 1x1 stem.
std::unique_ptr<Network> make_shufflenet_v2_1x1(ImageShape input, std::int64_t num_classes);
/// Two groups (200, 400, 800 channels).
std::unique_ptr<Network> make_shufflenet_g2(ImageShape input, std::int64_t num_classes);
/// Three groups of two blocks, 32, 64 and 128 channels.
std::unique_ptr<Network> make_wide_resnet(ImageShape input, std::int64_t num_classes);
/// 3x3 stem without norm and pooling, growth 32.
std::unique_ptr<Network> make_densenet121(ImageShape input, std::int64_t num_classes);

}  // namespace retort::nn
