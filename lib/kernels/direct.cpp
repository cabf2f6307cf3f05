#include "lib/kernels/direct.h"

#include <algorithm>
#include <cstring>

#include "lib/kernels/common.h"

namespace retort::kernels {

DirectConvolution::DirectConvolution(const Loops& loops, std::int64_t channels, std::int64_t height,
                                     std::int64_t width, std::int64_t padding,
                                     std::int64_t out_channels)
    : loops_(loops),
      channels_(channels),
      height_(height),
      width_(width),
      padding_(padding),
      out_channels_(out_channels),
      map_{1, height + 2 * padding - 2, width + 2 * padding - 2, padded_channels(out_channels)} {
  // Rows a multiple of 4096 bytes apart would share the same few lines of the first cache.
  patch_stride_ = padded_channels(map_.pixels()) + kChannelStep;
}

Tensor DirectConvolution::pack(const Tensor& weight) const {
  const Tensor packed = at::empty({taps(), map_.channels}, weight.options().requires_grad(false));
  loops_.to_channels_last(weight.const_data_ptr<float>(), out_channels_, taps(), map_.channels,
                          packed.mutable_data_ptr<float>());
  return packed;
}

Tensor DirectConvolution::pack_adjoint(const Tensor& weight) const {
  const Tensor packed =
      at::zeros({map_.channels, padded_channels(taps())}, weight.options().requires_grad(false));
  packed.narrow(0, 0, out_channels_)
      .narrow(1, 0, taps())
      .copy_(weight.detach().view({out_channels_, taps()}));
  return packed;
}

Tensor DirectConvolution::unpack(const Tensor& gradient) const {
  const Tensor result = at::empty({out_channels_, channels_, 3, 3}, gradient.options());
  loops_.to_channels_first(gradient.const_data_ptr<float>(), map_.channels, out_channels_, taps(),
                           result.mutable_data_ptr<float>());
  return result;
}

// visit(tap row of the patches, image row or -1 outside, map row, first and end map column that the
// image row covers, image column of the first)
template <class Visit>
void DirectConvolution::for_each_row(const Visit& visit) const {
  for (std::int64_t tap = 0; tap < taps(); ++tap) {
    const std::int64_t shift_y = tap / 3 % 3 - padding_;
    const std::int64_t shift_x = tap % 3 - padding_;
    const std::int64_t first = std::max<std::int64_t>(0, -shift_x);
    const std::int64_t end = std::max(first, std::min(map_.width, width_ - shift_x));
    for (std::int64_t y = 0; y < map_.height; ++y) {
      const std::int64_t row = y + shift_y;
      const bool inside = row >= 0 && row < height_;
      const std::int64_t source =
          inside ? (tap / 9 * height_ + row) * width_ + first + shift_x : std::int64_t(-1);
      visit(tap, y, source, first, end);
    }
  }
}

const float* DirectConvolution::gather(const float* image) const {
  float* const patches = scratch(Slot::Patches, taps() * patch_stride_);
  for_each_row([&](std::int64_t tap, std::int64_t y, std::int64_t source, std::int64_t first,
                   std::int64_t end) {
    float* const row = patches + tap * patch_stride_ + y * map_.width;
    if (source < 0) {
      std::fill(row, row + map_.width, 0.0f);
      return;
    }
    std::fill(row, row + first, 0.0f);
    std::copy_n(image + source, end - first, row + first);
    std::fill(row + end, row + map_.width, 0.0f);
  });
  return patches;
}

void DirectConvolution::forward(const float* patches, const float* packed, const float* bias,
                                const Panel& panel, float* map) const {
  loops_.product_transposed(map_.pixels(), panel.channels, taps(), patches, patch_stride_,
                            packed + panel.first, map_.channels, bias + panel.first, 0, map,
                            panel.stride);
}

void DirectConvolution::weight_gradient(const float* patches, const float* gmap, const Panel& panel,
                                        float* packed_gradient) const {
  constexpr std::int64_t kPixelBlock = 64;  // gradient pixels that stay in the first cache
  float* const sums = packed_gradient + panel.first;
  for (std::int64_t p = 0; p < map_.pixels(); p += kPixelBlock) {
    loops_.product(taps(), panel.channels, std::min(kPixelBlock, map_.pixels() - p), patches + p,
                   patch_stride_, gmap + p * panel.stride, panel.stride, sums, map_.channels, sums,
                   map_.channels);
  }
}

float* DirectConvolution::gradient_rows() const {
  return scratch(Slot::Products, map_.pixels() * padded_channels(taps()));
}

void DirectConvolution::input_gradient_rows(const float* gmap, const float* packed_adjoint,
                                            const Panel& panel, float* rows) const {
  const std::int64_t columns = padded_channels(taps());
  loops_.product(map_.pixels(), columns, panel.channels, gmap, panel.stride,
                 packed_adjoint + panel.first * columns, columns, panel.first == 0 ? nullptr : rows,
                 columns, rows, columns);
}

void DirectConvolution::scatter(const float* rows, float* gimage) const {
  float* const turned = scratch(Slot::Patches, taps() * map_.pixels());
  loops_.to_channels_first(rows, padded_channels(taps()), taps(), map_.pixels(), turned);
  std::fill(gimage, gimage + image_size(), 0.0f);
  for_each_row([&](std::int64_t tap, std::int64_t y, std::int64_t source, std::int64_t first,
                   std::int64_t end) {
    if (source < 0) return;
    const float* const row = turned + tap * map_.pixels() + y * map_.width + first;
    for (std::int64_t x = 0; x < end - first; ++x) gimage[source + x] += row[x];
  });
}

}  // namespace retort::kernels
