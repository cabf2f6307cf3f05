#include "lib/kernels/conv3x3.h"

#include <algorithm>

#include "lib/kernels/common.h"
#include "lib/kernels/direct.h"
#include "lib/kernels/loops/loops.h"
#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

std::int64_t tiles(std::int64_t height, std::int64_t width) {
  return (height + 3) / 4 * ((width + 3) / 4);
}

/// A stack of channels-first images, turned a few at a time: in cache that costs far less than the
/// convolution.
struct Planes {
  const Loops& loops;
  Tensor images;  // [N,C,H,W] contiguous
  MapShape shape;

  Planes(const Loops& used, const Tensor& stack)
      : loops(used),
        images(stack),
        shape{1, stack.size(2), stack.size(3), padded_channels(stack.size(1))} {}

  const float* turned(std::int64_t first, std::int64_t count, Slot slot) const {
    float* const maps = scratch(slot, count * shape.image_size());
    for (std::int64_t i = 0; i < count; ++i) {
      loops.to_channels_last(at_image(images, first + i), images.size(1), shape.pixels(),
                             shape.channels, maps + i * shape.image_size());
    }
    return maps;
  }

  void take_back(const float* maps, std::int64_t first, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      loops.to_channels_first(maps + i * shape.image_size(), shape.channels, images.size(1),
                              shape.pixels(), at_image(images, first + i));
    }
  }
};

// Runs body(range, first image, images) over the batch, as many at once as fill a block of tiles.
template <class Body>
void for_steps(const MapShape& shape, std::int64_t n, const Body& body) {
  const std::int64_t step =
      std::max<std::int64_t>(1, kWinogradTiles / tiles(shape.height, shape.width));
  for_ranges(n, [&](std::int64_t range, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; i += step) body(range, i, std::min(step, end - i));
  });
}

MapShape stack(const MapShape& shape, std::int64_t count) {
  return {count, shape.height, shape.width, shape.channels};
}

Tensor transformed_weight(const Loops& loops, const Tensor& weight, bool adjoint) {
  const std::int64_t size =
      kWinogradPositions * padded_channels(weight.size(0)) * padded_channels(weight.size(1));
  const Tensor result = at::empty({size}, weight.options());
  loops.transform_weight(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), adjoint,
                         result.mutable_data_ptr<float>());
  return result;
}

/// y = x * weight + bias by Winograd; with `adjoint` the data gradient, x being gy.
Tensor winograd(const Tensor& x, const Tensor& weight, const Tensor& bias, bool adjoint) {
  const Loops& loops = *best_loops();
  const std::int64_t channels = weight.size(adjoint ? 1 : 0);
  const Planes in(loops, x);
  const Planes out(loops, at::empty({x.size(0), channels, x.size(2), x.size(3)}, x.options()));
  const Tensor transformed = transformed_weight(loops, weight, adjoint);
  const Tensor padded_bias = bias.defined() ? padded_vector(bias, out.shape.channels) : Tensor();
  for_steps(in.shape, x.size(0), [&](std::int64_t, std::int64_t first, std::int64_t count) {
    const float* const maps = in.turned(first, count, Slot::Even);
    float* const result = scratch(Slot::Map, count * out.shape.image_size());
    float* const memory =
        scratch(Slot::Convolve, loops.convolve_scratch(in.shape.channels, out.shape.channels));
    loops.convolve(maps, stack(in.shape, count), transformed.const_data_ptr<float>(),
                   padded_bias.defined() ? padded_bias.const_data_ptr<float>() : nullptr,
                   out.shape.channels, result, memory);
    out.take_back(result, first, count);
  });
  return out.images;
}

Tensor winograd_weight_gradient(const Tensor& x, const Tensor& gy) {
  const Loops& loops = *best_loops();
  const Planes in(loops, x);
  const Planes out(loops, gy);
  const Tensor sums = at::zeros(
      {range_count(x.size(0)), kWinogradPositions * in.shape.channels * out.shape.channels},
      x.options());
  for_steps(in.shape, x.size(0), [&](std::int64_t range, std::int64_t first, std::int64_t count) {
    const float* const maps = in.turned(first, count, Slot::Even);
    const float* const gradients = out.turned(first, count, Slot::Odd);
    float* const memory =
        scratch(Slot::Convolve, loops.convolve_scratch(in.shape.channels, out.shape.channels));
    loops.convolve_weight_gradient(maps, stack(in.shape, count), gradients, out.shape.channels,
                                   at_image(sums, range), memory);
  });
  const Tensor total = sums.size(0) == 1 ? sums : sums.sum(0);
  const Tensor result = at::empty({gy.size(1), x.size(1), 3, 3}, x.options());
  loops.finish_weight_gradient(total.const_data_ptr<float>(), gy.size(1), x.size(1),
                               result.mutable_data_ptr<float>());
  return result;
}

DirectConvolution direct_for(const Tensor& x, const Tensor& weight, std::int64_t padding) {
  return {*best_loops(), x.size(1), x.size(2), x.size(3), padding, weight.size(0)};
}

Tensor direct_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                      std::int64_t padding) {
  const DirectConvolution direct = direct_for(x, weight, padding);
  const MapShape& map = direct.map();
  const Planes out(*best_loops(),
                   at::empty({x.size(0), weight.size(0), map.height, map.width}, x.options()));
  const Tensor packed = direct.pack(weight);
  const Tensor start = padded_vector(bias, map.channels);
  for_ranges(x.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    float* const result = scratch(Slot::Map, map.image_size());
    for (std::int64_t i = first; i < end; ++i) {
      direct.forward(direct.gather(at_image(x, i)), packed.const_data_ptr<float>(),
                     start.const_data_ptr<float>(), result);
      out.take_back(result, i, 1);
    }
  });
  return out.images;
}

Tensor direct_data_gradient(const Tensor& gy, const Tensor& weight, std::int64_t padding) {
  const std::int64_t grow = 2 * padding - 2;
  const Tensor gx =
      at::empty({gy.size(0), weight.size(1), gy.size(2) - grow, gy.size(3) - grow}, gy.options());
  const DirectConvolution direct = direct_for(gx, weight, padding);
  const Planes out(*best_loops(), gy);
  const Tensor adjoint = direct.pack_adjoint(weight);
  for_ranges(gy.size(0), [&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      direct.input_gradient(out.turned(i, 1, Slot::Odd), adjoint.const_data_ptr<float>(),
                            at_image(gx, i));
    }
  });
  return gx;
}

Tensor direct_weight_gradient(const Tensor& gy, const Tensor& x, std::int64_t padding) {
  const DirectConvolution direct(*best_loops(), x.size(1), x.size(2), x.size(3), padding,
                                 gy.size(1));
  const Planes out(*best_loops(), gy);
  const Tensor sums =
      at::zeros({range_count(x.size(0)), direct.taps(), direct.map().channels}, x.options());
  for_ranges(x.size(0), [&](std::int64_t range, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      direct.weight_gradient(direct.gather(at_image(x, i)), out.turned(i, 1, Slot::Odd),
                             at_image(sums, range));
    }
  });
  return direct.unpack(sums.sum(0));
}

Tensor planes(const Tensor& t) { return t.detach().contiguous(); }

// The convolution C(x, w), its data gradient D(gy, w) and its weight gradient K(gy, x) are
// bilinear, and the gradients of each are the other two: with a cotangent c of the result,
//   C(x, w):  D(c, w), K(c, x)     D(gy, w):  C(c, w), K(gy, c)     K(gy, x):  C(x, c), D(gy, c)
// So every order of differentiation runs on the same three kernels.
Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t padding);
Tensor data_gradient(const Tensor& gy, const Tensor& weight, std::int64_t padding);
Tensor weight_gradient(const Tensor& gy, const Tensor& x, std::int64_t padding);

Tensor convolution(const Tensor& x, const Tensor& weight, std::int64_t padding) {
  return convolution(x, weight, at::zeros({weight.size(0)}), padding);
}

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias,
                   std::int64_t padding) {
  const auto forward = [&] {
    const Tensor y = x.size(1) <= kMostDirectChannels
                         ? direct_forward(planes(x), planes(weight), bias, padding)
                         : winograd(planes(x), planes(weight), bias, false);
    return Recorded{{y}, {x, weight}, [padding](const BackwardPass& pass) {
                      const Tensor& gy = pass.gradients[0];
                      Tensors result(3);
                      if (pass.needed[0]) result[0] = data_gradient(gy, pass.saved[1], padding);
                      if (pass.needed[1]) result[1] = weight_gradient(gy, pass.saved[0], padding);
                      if (pass.needed[2]) result[2] = gy.sum({0, 2, 3});
                      return result;
                    }};
  };
  return record({x, weight, bias}, forward)[0];
}

Tensor data_gradient(const Tensor& gy, const Tensor& weight, std::int64_t padding) {
  const auto forward = [&] {
    const Tensor gx = weight.size(1) <= kMostDirectChannels
                          ? direct_data_gradient(planes(gy), planes(weight), padding)
                          : winograd(planes(gy), planes(weight), {}, true);
    return Recorded{{gx}, {gy, weight}, [padding](const BackwardPass& pass) {
                      const Tensor& cotangent = pass.gradients[0];
                      Tensors result(2);
                      if (pass.needed[0]) {
                        result[0] = convolution(cotangent, pass.saved[1], padding);
                      }
                      if (pass.needed[1]) {
                        result[1] = weight_gradient(pass.saved[0], cotangent, padding);
                      }
                      return result;
                    }};
  };
  return record({gy, weight}, forward)[0];
}

Tensor weight_gradient(const Tensor& gy, const Tensor& x, std::int64_t padding) {
  const auto forward = [&] {
    const Tensor gw = x.size(1) <= kMostDirectChannels
                          ? direct_weight_gradient(planes(gy), planes(x), padding)
                          : winograd_weight_gradient(planes(x), planes(gy));
    return Recorded{{gw}, {gy, x}, [padding](const BackwardPass& pass) {
                      const Tensor& cotangent = pass.gradients[0];
                      Tensors result(2);
                      if (pass.needed[0]) {
                        result[0] = convolution(pass.saved[1], cotangent, padding);
                      }
                      if (pass.needed[1]) {
                        result[1] = data_gradient(pass.saved[0], cotangent, padding);
                      }
                      return result;
                    }};
  };
  return record({gy, x}, forward)[0];
}

}  // namespace

bool serves_conv3x3(const Tensor& x, const Tensor& weight, std::int64_t padding) {
  if (!is_fast_map(x) || !is_fast_parameter(weight) || weight.dim() != 4 || padding < 0) {
    return false;
  }
  const std::int64_t in = x.size(1);
  const std::int64_t out = weight.size(0);
  const std::int64_t height = x.size(2) + 2 * padding - 2;
  const std::int64_t width = x.size(3) + 2 * padding - 2;
  if (out < 1 || height < 1 || width < 1 || weight.sizes() != at::IntArrayRef{out, in, 3, 3}) {
    return false;
  }
  if (in <= kMostDirectChannels) return padded_channels(out) <= 2 * out;
  return padding == 1 && padded_channels(in) * padded_channels(out) * 16 * tiles(height, width) <=
                             2 * in * out * height * width;
}

Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t padding) {
  if (!serves_conv3x3(x, weight, padding) || (bias.defined() && !is_fast_parameter(bias))) {
    count(&Counters::conv_fallback);
    return conv3x3_reference(x, weight, bias, padding);
  }
  count(&Counters::conv_fast);
  // A Function takes no undefined tensors.
  return convolution(x, weight, bias.defined() ? bias : at::zeros({weight.size(0)}), padding);
}

Tensor conv3x3_reference(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         std::int64_t padding) {
  return at::conv2d(x, weight, bias, 1, padding);
}

}  // namespace retort::kernels
