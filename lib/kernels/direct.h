#pragma once
// 3x3 convolution of images with few channels (a first layer), as one product over patches; not
// for use outside this folder.

#include <cstdint>

#include "lib/core/tensor.h"
#include "lib/kernels/loops/loops.h"

namespace retort::kernels {

/// Most input channels for which patches beat Winograd, whose channels are padded to 16.
inline constexpr std::int64_t kMostDirectChannels = 4;

/// Stride 1, any padding. Images are channels-first planes, maps channels-last and padded.
class DirectConvolution {
 public:
  DirectConvolution(const Loops& loops, std::int64_t channels, std::int64_t height,
                    std::int64_t width, std::int64_t padding, std::int64_t out_channels);

  const MapShape& map() const { return map_; }
  std::int64_t image_size() const { return channels_ * height_ * width_; }
  std::int64_t taps() const { return 9 * channels_; }

  /// [taps][padded out channels] of a weight [O,C,3,3]
  Tensor pack(const Tensor& weight) const;
  /// [padded out channels][padded taps], for the input gradient
  Tensor pack_adjoint(const Tensor& weight) const;
  /// A gradient laid out as by `pack` back to [O,C,3,3].
  Tensor unpack(const Tensor& gradient) const;

  /// Rows [tap][pixel] of one image, in the calling thread's scratch memory.
  const float* gather(const float* image) const;
  void forward(const float* patches, const float* packed, const float* bias, float* map) const {
    forward(patches, packed, bias, whole(), map);
  }
  /// Adds to `packed_gradient`.
  void weight_gradient(const float* patches, const float* gmap, float* packed_gradient) const {
    weight_gradient(patches, gmap, whole(), packed_gradient);
  }
  void input_gradient(const float* gmap, const float* packed_adjoint, float* gimage) const {
    float* const rows = gradient_rows();
    input_gradient_rows(gmap, packed_adjoint, whole(), rows);
    scatter(rows, gimage);
  }

  /// Padded channels first .. first + channels - 1 of a map, kept by themselves with a pixel every
  /// `stride` floats: what is made of few channels at a time stays in the second cache.
  struct Panel {
    std::int64_t first, channels, stride;
  };
  void forward(const float* patches, const float* packed, const float* bias, const Panel& panel,
               float* map) const;
  void weight_gradient(const float* patches, const float* gmap, const Panel& panel,
                       float* packed_gradient) const;
  /// Scratch memory for the gradient of what `gather` makes, [pixel][padded tap].
  float* gradient_rows() const;
  /// The panel's share is written if it is the first one, and else added.
  void input_gradient_rows(const float* gmap, const float* packed_adjoint, const Panel& panel,
                           float* rows) const;
  /// What `gather` made is lost.
  void scatter(const float* rows, float* gimage) const;

 private:
  Panel whole() const { return {0, map_.channels, map_.channels}; }
  template <class Visit>
  void for_each_row(const Visit& visit) const;

  const Loops& loops_;
  std::int64_t channels_, height_, width_, padding_, out_channels_;
  std::int64_t patch_stride_;
  MapShape map_;
};

}  // namespace retort::kernels
