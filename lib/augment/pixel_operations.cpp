#include "lib/augment/pixel_operations.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "lib/core/error.h"

namespace retort::augment {
namespace {

constexpr double kWhite = 255;

/// factor x + (1 - factor) other, cut off to 8 bits.
Tensor blend(const Tensor& pixels, const Tensor& other, double factor) {
  return (pixels * factor + other * (1 - factor)).clamp(0, kWhite).to(at::kByte);
}

bool is_gray(const Tensor& pixels) { return pixels.size(1) == 1; }

/// uint8 [N,1,H,W]
Tensor gray(const Tensor& pixels) {
  if (is_gray(pixels)) return pixels;
  const auto channels = pixels.unbind(1);
  return (channels[0] * 0.2989 + channels[1] * 0.587 + channels[2] * 0.114)
      .to(at::kByte)
      .unsqueeze(1);
}

/// Rows of a 2x3 matrix: from where a pixel comes, in pixels from the centre of the image.
using Source = std::array<double, 6>;

/// Nearest pixel, black outside.
Tensor moved(const Tensor& pixels, const Source& source) {
  const auto height = pixels.size(2);
  const auto width = pixels.size(3);
  const auto options = at::TensorOptions().dtype(at::kFloat).device(pixels.device());
  const auto side = [&](std::int64_t n) {
    return at::linspace(-double(n) * 0.5 + 0.5, double(n) * 0.5 - 0.5, n, options);
  };
  Tensor from = at::ones({height, width, 3}, options);
  from.select(2, 0).copy_(side(width));
  from.select(2, 1).copy_(side(height).unsqueeze(1));
  std::vector<float> rows(source.begin(), source.end());
  const Tensor matrix = at::tensor(rows).view({2, 3}).to(pixels.device());
  const Tensor half = at::tensor({float(width) / 2, float(height) / 2}).to(pixels.device());
  const Tensor grid = from.view({1, height * width, 3})
                          .bmm((matrix.t() / half).unsqueeze(0))
                          .view({1, height, width, 2})
                          .expand({pixels.size(0), -1, -1, -1});
  constexpr int kNearest = 1;
  constexpr int kZeros = 0;
  return at::grid_sampler(pixels.to(at::kFloat), grid, kNearest, kZeros, /*align_corners=*/false)
      .round()
      .to(at::kByte);
}

Tensor shear_x(const Tensor& pixels, double tangent) {
  const double half = double(pixels.size(2)) / 2;
  return moved(pixels, {1, tangent, tangent * half, 0, 1, 0});
}

Tensor shear_y(const Tensor& pixels, double tangent) {
  const double half = double(pixels.size(3)) / 2;
  return moved(pixels, {1, 0, 0, tangent, 1, tangent * half});
}

Tensor rotate(const Tensor& pixels, double degrees) {
  const double angle = -degrees * std::numbers::pi / 180;
  return moved(pixels, {std::cos(angle), std::sin(angle), 0, -std::sin(angle), std::cos(angle), 0});
}

Tensor contrast(const Tensor& pixels, double factor) {
  return blend(pixels, gray(pixels).to(at::kFloat).mean({1, 2, 3}, /*keepdim=*/true), factor);
}

/// A weighted mean of the neighbourhood, the pixel itself five times.
Tensor blurred(const Tensor& pixels) {
  const auto channels = pixels.size(1);
  Tensor kernel = at::ones({3, 3}, at::TensorOptions().dtype(at::kFloat).device(pixels.device()));
  kernel[1][1] = 5;
  kernel = (kernel / kernel.sum()).expand({channels, 1, 3, 3});
  const Tensor inside = at::conv2d(pixels.to(at::kFloat), kernel, /*bias=*/{}, /*stride=*/1,
                                   at::IntArrayRef{0, 0}, /*dilation=*/1, channels);
  Tensor result = pixels.clone();
  result.slice(2, 1, -1).slice(3, 1, -1).copy_(inside.round().to(at::kByte));
  return result;
}

Tensor sharpness(const Tensor& pixels, double factor) {
  if (pixels.size(2) <= 2 || pixels.size(3) <= 2) return pixels;
  return blend(pixels, blurred(pixels), factor);
}

Tensor posterize(const Tensor& pixels, double bits) {
  const int dropped = std::clamp(8 - int(bits), 0, 8);
  return pixels.bitwise_and(0xff & ~((1 << dropped) - 1));
}

Tensor auto_contrast(const Tensor& pixels) {
  const Tensor low = pixels.amin({2, 3}, /*keepdim=*/true).to(at::kFloat);
  const Tensor high = pixels.amax({2, 3}, /*keepdim=*/true).to(at::kFloat);
  const Tensor flat = low == high;
  const Tensor scale = (kWhite / (high - low)).masked_fill(flat, 1);
  return ((pixels - low.masked_fill(flat, 0)) * scale).clamp(0, kWhite).to(at::kByte);
}

Tensor equalize(const Tensor& pixels) {
  constexpr std::int64_t kLevels = 256;
  const std::int64_t planes = pixels.size(0) * pixels.size(1);
  const Tensor flat = pixels.reshape({planes, -1}).to(at::kLong);
  const Tensor first = at::arange(planes, flat.options()).unsqueeze(1) * kLevels;
  const Tensor histogram =
      at::bincount((flat + first).flatten(), {}, planes * kLevels).view({planes, kLevels});
  // Pixels of the largest value do not count.
  const Tensor of_largest = histogram.gather(1, flat.amax(1, /*keepdim=*/true));
  const Tensor step = at::floor_divide(flat.size(1) - of_largest, kLevels - 1);
  const Tensor divisor = step.clamp_min(1);
  const Tensor levels = at::floor_divide(histogram.cumsum(1) + at::floor_divide(step, 2), divisor);
  const Tensor table =
      at::cat({at::zeros_like(step), levels.slice(1, 0, kLevels - 1)}, 1).clamp(0, kLevels - 1);
  return at::where(step == 0, flat, table.gather(1, flat)).to(at::kByte).view(pixels.sizes());
}

/// Hue, saturation and value, each 0 .. 1, [N,H,W].
struct Hsv {
  Tensor hue, saturation, value;
};

Hsv to_hsv(const Tensor& rgb) {
  const auto channels = rgb.unbind(1);
  const Tensor &r = channels[0], &g = channels[1], &b = channels[2];
  const Tensor high = rgb.amax(1);
  const Tensor low = rgb.amin(1);
  const Tensor flat = high == low;
  const Tensor range = high - low;
  const Tensor divisor = range.masked_fill(flat, 1);
  const Tensor rc = (high - r) / divisor;
  const Tensor gc = (high - g) / divisor;
  const Tensor bc = (high - b) / divisor;
  const Tensor red = high == r;
  const Tensor green = (high == g).logical_and(red.logical_not());
  const Tensor blue = red.logical_or(high == g).logical_not();
  const Tensor hue = red * (bc - gc) + green * (rc - bc + 2) + blue * (gc - rc + 4);
  return {(hue / 6 + 1).fmod(1), range / high.masked_fill(flat, 1), high};
}

Tensor to_rgb(const Hsv& hsv) {
  const Tensor sixth = (hsv.hue * 6).floor();
  const Tensor f = hsv.hue * 6 - sixth;
  const Tensor& v = hsv.value;
  const Tensor& s = hsv.saturation;
  const Tensor p = (v * (1 - s)).clamp(0, 1);
  const Tensor q = (v * (1 - s * f)).clamp(0, 1);
  const Tensor t = (v * (1 - s * (1 - f))).clamp(0, 1);
  const Tensor place = sixth.to(at::kLong).remainder(6).unsqueeze(0);
  const auto choose = [&](const Tensors& of_sixths) {
    return at::stack(of_sixths).gather(0, place).squeeze(0);
  };
  return at::stack(
      {choose({v, q, p, p, t, v}), choose({t, v, v, q, p, p}), choose({p, p, t, v, v, q})}, 1);
}

Tensor turn_hue(const Tensor& pixels, double turns) {
  if (is_gray(pixels)) return pixels;
  Hsv hsv = to_hsv(pixels.to(at::kFloat) / kWhite);
  hsv.hue = (hsv.hue + turns).remainder(1);
  // So that every value has an equally long range of fractions.
  return (to_rgb(hsv) * (kWhite + 1 - 1e-3)).to(at::kByte);
}

}  // namespace

Tensor apply(PixelOperation operation, double magnitude, const Tensor& pixels) {
  switch (operation) {
    case PixelOperation::Identity:
      return pixels;
    case PixelOperation::ShearX:
      return shear_x(pixels, magnitude);
    case PixelOperation::ShearY:
      return shear_y(pixels, magnitude);
    case PixelOperation::TranslateX:
      return moved(pixels, {1, 0, -std::trunc(magnitude), 0, 1, 0});
    case PixelOperation::TranslateY:
      return moved(pixels, {1, 0, 0, 0, 1, -std::trunc(magnitude)});
    case PixelOperation::Rotate:
      return rotate(pixels, magnitude);
    case PixelOperation::Brightness:
      return blend(pixels, at::zeros_like(pixels), 1 + magnitude);
    case PixelOperation::Color:
      return is_gray(pixels) ? pixels : blend(pixels, gray(pixels), 1 + magnitude);
    case PixelOperation::Contrast:
      return contrast(pixels, 1 + magnitude);
    case PixelOperation::Sharpness:
      return sharpness(pixels, 1 + magnitude);
    case PixelOperation::Posterize:
      return posterize(pixels, magnitude);
    case PixelOperation::Solarize:
      return at::where(pixels >= magnitude, kWhite - pixels, pixels).to(at::kByte);
    case PixelOperation::AutoContrast:
      return auto_contrast(pixels);
    case PixelOperation::Equalize:
      return equalize(pixels);
    case PixelOperation::Invert:
      return (kWhite - pixels).to(at::kByte);
    case PixelOperation::Hue:
      return turn_hue(pixels, magnitude);
    case PixelOperation::Flip:
      return pixels.flip(3);
  }
  throw Error("unknown operation on pixels");
}

}  // namespace retort::augment
