#include "lib/kernels/cuda_self_check.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/log.h"
#include "lib/core/rng.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/kernels/device_block.h"

namespace retort::kernels {
namespace {

using Shape = std::vector<std::int64_t>;
/// What is wrong, in words for a warning.
using Complaint = std::optional<std::string>;

constexpr double kBlockTolerance = 2e-6;
constexpr double kBlockGradientTolerance = 1e-5;
constexpr double kAugmentTolerance = 5e-6;
constexpr double kStepTolerance = 1e-6;
constexpr double kEps = 1e-5;

// Planes of one pool are several: one alone, all of it active, has rounding for a gradient.
const std::vector<Shape> kBlockShapes = {{2, 5, 2, 2}, {2, 3, 5, 7}, {3, 17, 6, 9}, {2, 33, 8, 8}};
const std::vector<Shape> kImageShapes = {{3, 3, 16, 16}, {3, 2, 7, 10}, {3, 1, 9, 5}};

/// The number that is furthest off, as a complaint where that is too far or not a number.
Complaint difference(const Tensor& found, const Tensor& expected, double tolerance) {
  if (found.sizes() != expected.sizes()) {
    return str("gives the shape ", shape_text(found), " where ", shape_text(expected), " is right");
  }
  const Tensor a = found.to(at::kDouble).flatten();
  const Tensor b = expected.to(at::kDouble).flatten();
  const Tensor distance = (a - b).abs();
  const std::int64_t worst = distance.argmax().item<std::int64_t>();  // finds a NaN as well
  const double largest = b.abs().max().item<double>();
  const double allowed = tolerance * (largest > 0 ? largest : 1);
  if (distance[worst].item<double>() <= allowed) return std::nullopt;
  return str("gives ", a[worst].item<double>(), " where ", b[worst].item<double>(), " is right");
}

/// Tensors of one device, the same for the same name and shape.
class Maker {
 public:
  explicit Maker(at::Device device) : device_(device) {}

  Tensor normal(const std::string& name, at::IntArrayRef shape) const {
    return Rng(7).child(name).normal_tensor(shape).to(device_);
  }

 private:
  at::Device device_;
};

Tensor wide_leaf(const Tensor& t) { return t.detach().to(at::kDouble).requires_grad_(); }

// ---- block --------------------------------------------------------------------------------------

struct BlockCase {
  Tensor x, weight, bias, gy;
};

BlockCase block_case(const Maker& make, const Shape& shape) {
  return {make.normal("x", shape) * 2 + 3, make.normal("weight", {shape[1]}),
          make.normal("bias", {shape[1]}) * 0.5,
          make.normal("gy", {shape[0], shape[1], shape[2] / 2, shape[3] / 2})};
}

Complaint block(const CudaBackend& backend, const Maker& make) {
  for (const Shape& shape : kBlockShapes) {
    const BlockCase c = block_case(make, shape);
    const auto found = backend.norm_relu_pool(c.x, c.weight, c.bias, kEps);
    const Tensor expected = block_reference(c.x.to(at::kDouble), c.weight.to(at::kDouble),
                                            c.bias.to(at::kDouble), kEps);
    if (auto complaint = difference(found.y, expected, kBlockTolerance)) return complaint;
  }
  return std::nullopt;
}

/// With statistics by LibTorch, so that a wrong forward pass is not laid to the gradient.
Complaint block_gradient(const CudaBackend& backend, const Maker& make) {
  for (const Shape& shape : kBlockShapes) {
    const BlockCase c = block_case(make, shape);
    const Tensor wide = c.x.to(at::kDouble);
    const Tensor mean = wide.mean({2, 3});
    const Tensor rstd = (wide.var({2, 3}, /*unbiased=*/false) + kEps).rsqrt();
    const NormReluPoolOutput output{Tensor(), mean.to(at::kFloat), rstd.to(at::kFloat)};
    const auto found = backend.norm_relu_pool_gradient(c.x, c.weight, c.bias, output, c.gy);
    const at::AutoGradMode gradients(true);
    const Tensors in{wide_leaf(c.x), wide_leaf(c.weight), wide_leaf(c.bias)};
    const Tensors expected = torch::autograd::grad({block_reference(in[0], in[1], in[2], kEps)}, in,
                                                   {c.gy.to(at::kDouble)});
    const Tensors all{found.x, found.weight, found.bias};
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (auto complaint = difference(all[i], expected[i], kBlockGradientTolerance)) {
        return complaint;
      }
    }
  }
  return std::nullopt;
}

// ---- augmentation -------------------------------------------------------------------------------

template <class Parameters>
using Kernel = Tensor (*)(const Tensor& x, const std::vector<Parameters>& parameters);
/// LibTorch's version of an operation.  @param image [1,C,H,W] float64
template <class Parameters>
using Reference = Tensor (*)(const Tensor& image, const Parameters& parameters);

Tensor color(const Tensor& image, const cuda::ColorParameters& p) {
  const Tensor gray = image.mean(1, true);
  const Tensor mean = image.mean();
  const Tensor vivid = gray + p.saturation * (image - gray);
  return mean + p.contrast * (vivid - mean) + p.shift;
}

Tensor crop(const Tensor& image, const cuda::CropParameters& p) {
  return at::constant_pad_nd(image, {-p.columns, p.columns, -p.rows, p.rows});
}

Tensor cutout(const Tensor& image, const cuda::CutoutParameters& p) {
  const Tensor kept = at::ones_like(image);
  const auto inside = [](std::int64_t position, std::int64_t side) {
    return std::clamp<std::int64_t>(position, 0, side);
  };
  kept.slice(2, inside(p.row_begin, image.size(2)), inside(p.row_end, image.size(2)))
      .slice(3, inside(p.column_begin, image.size(3)), inside(p.column_end, image.size(3)))
      .zero_();
  return image * kept;
}

Tensor flip(const Tensor& image, const cuda::FlipParameters& p) {
  return p.mirrored ? image.flip(3) : image.clone();
}

Tensor resample(const Tensor& image, const cuda::ResampleParameters& p) {
  const auto offsets = [&](std::int64_t side) {
    return at::arange(side, image.options()) - double(side - 1) / 2;
  };
  const auto height = double(image.size(2));
  const auto width = double(image.size(3));
  const Tensor x = offsets(image.size(3)).view({1, -1});
  const Tensor y = offsets(image.size(2)).view({-1, 1});
  const Tensor grid =
      at::stack({(p.xx * x + p.xy * y) * (2 / width), (p.yx * x + p.yy * y) * (2 / height)}, 2);
  return at::grid_sampler(image, grid.unsqueeze(0), /*bilinear*/ 0, /*zeros*/ 0,
                          /*align_corners=*/false);
}

template <class Parameters>
struct Operation {
  Reference<Parameters> reference;
  std::vector<Parameters> each;  ///< of three images

  /// @param images [3,C,H,W] float64  @param shared the first image's parameters for all
  Tensor forward(const Tensor& images, bool shared) const {
    Tensors results;
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      results.push_back(reference(images.narrow(0, i, 1), each[shared ? 0 : std::size_t(i)]));
    }
    return at::cat(results);
  }

  Tensor gradient(const Tensor& gy, bool shared) const {
    const at::AutoGradMode gradients(true);
    const Tensor images = wide_leaf(at::zeros_like(gy));
    return torch::autograd::grad({forward(images, shared)}, {images}, {gy})[0];
  }
};

const Operation<cuda::ColorParameters> kColor{&color,
                                              {{0.2F, 1.5F, 0.7F}, {0, 0, 1}, {-0.5F, 1, 1.5F}}};
const Operation<cuda::CropParameters> kCrop{&crop, {{-2, 3}, {0, 0}, {4, -4}}};
const Operation<cuda::CutoutParameters> kCutout{&cutout,
                                                {{-3, 2, 1, 4}, {2, 6, 3, 20}, {0, 0, 0, 0}}};
const Operation<cuda::FlipParameters> kFlip{&flip, {{true}, {false}, {true}}};
const Operation<cuda::ResampleParameters> kResample{
    &resample, {{0.9F, 0, 0, 1.15F}, {0.98F, -0.2F, 0.15F, 0.97F}, {0.5F, 0.1F, -0.3F, 1.4F}}};

/// Compares on every shape, with the parameters of each image and with the first's for all.
/// @param given to the kernel  @param expected (float64 images, shared)
template <class Parameters, class Expected>
Complaint on_images(const Maker& make, Kernel<Parameters> kernel,
                    const std::vector<Parameters>& given, const Expected& expected) {
  for (const Shape& shape : kImageShapes) {
    const Tensor x = make.normal("images", shape);
    for (const bool shared : {false, true}) {
      const Tensor found = kernel(x, shared ? std::vector<Parameters>{given[0]} : given);
      if (auto complaint =
              difference(found, expected(x.to(at::kDouble), shared), kAugmentTolerance)) {
        return complaint;
      }
    }
  }
  return std::nullopt;
}

template <class Parameters>
Complaint forward(const Maker& make, Kernel<Parameters> kernel,
                  const Operation<Parameters>& operation) {
  return on_images(make, kernel, operation.each,
                   [&](const Tensor& x, bool shared) { return operation.forward(x, shared); });
}

template <class Parameters>
Complaint gradient(const Maker& make, Kernel<Parameters> kernel,
                   const std::vector<Parameters>& given, const Operation<Parameters>& operation) {
  return on_images(make, kernel, given,
                   [&](const Tensor& gy, bool shared) { return operation.gradient(gy, shared); });
}

/// An operation whose gradient is the same kernel with adjoint parameters.
template <class Parameters>
Complaint both_ways(const Maker& make, Kernel<Parameters> kernel,
                    const Operation<Parameters>& operation) {
  if (auto complaint = forward(make, kernel, operation)) return complaint;
  std::vector<Parameters> adjoints;
  for (const Parameters& p : operation.each) adjoints.push_back(cuda::adjoint(p));
  return gradient(make, kernel, adjoints, operation);
}

// ---- optimisers ---------------------------------------------------------------------------------

const Shape kStepShape = {7, 11, 13};

Complaint sgd_step(const CudaBackend& backend, const Maker& make, double momentum, bool first) {
  cuda::SgdStep numbers{};
  numbers.lr = 0.1F;
  numbers.momentum = float(momentum);
  numbers.weight_decay = 0.01F;
  numbers.first = first;
  const Tensor w = make.normal("w", kStepShape);
  const Tensor g = make.normal("g", kStepShape);
  const Tensor velocity = make.normal("velocity", kStepShape);
  Tensor step = g.to(at::kDouble) + double(numbers.weight_decay) * w.to(at::kDouble);
  if (!first) step += double(numbers.momentum) * velocity.to(at::kDouble);
  const Tensor expected = w.to(at::kDouble) - double(numbers.lr) * step;
  if (first) velocity.fill_(std::nan(""));  // not to be read
  backend.sgd_step(w, momentum != 0 ? velocity : Tensor(), g, numbers);
  auto complaint = difference(w, expected, kStepTolerance);
  if (complaint || momentum == 0) return complaint;
  return difference(velocity, step, kStepTolerance);
}

Complaint sgd_steps(const CudaBackend& backend, const Maker& make) {
  if (auto complaint = sgd_step(backend, make, 0, true)) return complaint;
  if (auto complaint = sgd_step(backend, make, 0.9, true)) return complaint;
  return sgd_step(backend, make, 0.9, false);
}

Complaint adam_step(const CudaBackend& backend, const Maker& make) {
  const Tensor w = make.normal("w", kStepShape);
  const Tensor g = make.normal("g", kStepShape);
  const Tensor first = make.normal("first", kStepShape) * 0.1;
  const Tensor second = make.normal("second", kStepShape).square();
  const auto numbers = cuda::adam_step(w.numel(), 0.02, 0.9, 0.999, 3);
  const Tensor wide = g.to(at::kDouble);
  const Tensor m = double(numbers.beta1) * first + double(numbers.share1) * wide;
  const Tensor v = double(numbers.beta2) * second + double(numbers.share2) * wide * wide;
  const Tensor expected = w.to(at::kDouble) - double(numbers.lr) / double(numbers.correction1) * m /
                                                  ((v / double(numbers.correction2)).sqrt() + 1e-8);
  backend.adam_step(w, first, second, g, numbers);
  if (auto complaint = difference(w, expected, kStepTolerance)) return complaint;
  if (auto complaint = difference(first, m, kStepTolerance)) return complaint;
  return difference(second, v, kStepTolerance);
}

// -------------------------------------------------------------------------------------------------

template <class Function>
void keep_if_right(const char* name, Function*& function, const std::function<Complaint()>& check) {
  if (function == nullptr) return;
  Complaint complaint;
  try {
    complaint = check();
  } catch (const c10::Error& e) {
    complaint = str("throws: ", e.what_without_backtrace());
  } catch (const std::exception& e) {
    complaint = str("throws: ", e.what());
  }
  if (!complaint) return;
  log::warn(str("the device's kernel '", name, "' ", *complaint,
                "; LibTorch computes in its place for this run"));
  function = nullptr;
}

}  // namespace

CudaBackend self_checked(const CudaBackend& backend, at::Device device) {
  const at::NoGradGuard no_grad;
  const Maker make(device);
  CudaBackend kept = backend;
  keep_if_right("norm_relu_pool", kept.norm_relu_pool, [&] { return block(backend, make); });
  keep_if_right("norm_relu_pool_gradient", kept.norm_relu_pool_gradient,
                [&] { return block_gradient(backend, make); });
  keep_if_right("color", kept.color, [&] { return both_ways(make, backend.color, kColor); });
  keep_if_right("crop", kept.crop, [&] { return both_ways(make, backend.crop, kCrop); });
  keep_if_right("cutout", kept.cutout, [&] { return both_ways(make, backend.cutout, kCutout); });
  keep_if_right("flip", kept.flip, [&] { return both_ways(make, backend.flip, kFlip); });
  keep_if_right("resample", kept.resample,
                [&] { return forward(make, backend.resample, kResample); });
  keep_if_right("resample_gradient", kept.resample_gradient, [&] {
    return gradient(make, backend.resample_gradient, kResample.each, kResample);
  });
  keep_if_right("sgd_step", kept.sgd_step, [&] { return sgd_steps(backend, make); });
  keep_if_right("adam_step", kept.adam_step, [&] { return adam_step(backend, make); });
  return kept;
}

}  // namespace retort::kernels
