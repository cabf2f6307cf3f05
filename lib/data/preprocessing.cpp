#include "lib/data/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/data/image_dataset.h"

namespace retort::data {
namespace {

constexpr std::int64_t kBlock = 2048;  // images per block: 50 MB of float64 at 3x32x32

// Rows begin .. end-1 as float64 [end-begin, D].
using RowBlock = std::function<Tensor(std::int64_t begin, std::int64_t end)>;

struct Moments {
  Tensor mean;        // [D]
  Tensor covariance;  // [D,D], over N-1
};

// Two passes, so that the covariance is summed from centred values: the one-pass formula loses the
// digits that matter when the mean is large against the spread.
Moments moments(std::int64_t count, std::int64_t dimensions, const RowBlock& rows) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  Tensor sum = at::zeros({dimensions}, options);
  for (std::int64_t i = 0; i < count; i += kBlock) {
    sum += rows(i, std::min(count, i + kBlock)).sum(0);
  }
  const Tensor mean = sum / double(count);
  Tensor scatter = at::zeros({dimensions, dimensions}, options);
  for (std::int64_t i = 0; i < count; i += kBlock) {
    const Tensor centred = rows(i, std::min(count, i + kBlock)) - mean;
    scatter.addmm_(centred.t(), centred);
  }
  return {mean, scatter / double(count - 1)};
}

ZcaMatrices zca_from_moments(const Moments& m, double eps) {
  if (!at::isfinite(m.covariance).all().item<bool>()) {
    throw NumericalError("ZCA whitening: the covariance of the images holds a non-finite value");
  }
  const auto [values, vectors] = at::linalg_eigh(m.covariance);
  // A covariance has no negative eigenvalue; rounding may leave some around -1e-17.
  const Tensor spread = values.clamp_min(0) + eps;
  return {.eps = eps,
          .mean = m.mean,
          .whiten = at::matmul(vectors * spread.rsqrt(), vectors.t()),
          .inverse = at::matmul(vectors * spread.sqrt(), vectors.t())};
}

void check_zca_request(std::int64_t count, double eps) {
  if (count < 2) throw ConfigError(str("ZCA whitening: needs two images or more, found ", count));
  if (!(eps > 0) || !std::isfinite(eps)) {
    throw ConfigError(str("ZCA whitening: eps must be a positive number, found ", eps));
  }
}

Tensor per_channel(const std::vector<double>& values, const Tensor& like) {
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble))
      .to(like.device(), like.scalar_type())
      .view({1, -1, 1, 1});
}

std::string channel_text(const std::vector<double>& values) { return join(values, " "); }

}  // namespace

ZcaMatrices fit_zca(const Tensor& images, double eps) {
  expect_shape(images, {-1, -1, -1, -1}, "images for ZCA whitening");
  const at::NoGradGuard no_grad;
  check_zca_request(images.size(0), eps);
  const Tensor flat = images.flatten(1).to(at::kCPU);
  return zca_from_moments(moments(flat.size(0), flat.size(1),
                                  [&](std::int64_t begin, std::int64_t end) {
                                    return flat.narrow(0, begin, end - begin).to(at::kDouble);
                                  }),
                          eps);
}

ZcaMatrices fit_zca(const ImageStore& images, double eps) {
  const at::NoGradGuard no_grad;
  check_zca_request(images.size(), eps);
  return zca_from_moments(moments(images.size(), images.shape().numel(),
                                  [&](std::int64_t begin, std::int64_t end) {
                                    const Tensor rows = at::arange(begin, end, at::kLong);
                                    return images.pixels(rows).flatten(1).to(at::kDouble).div_(255);
                                  }),
                          eps);
}

Preprocessing Preprocessing::identity(std::int64_t channels) {
  return mean_std(std::vector<double>(std::size_t(channels), 0.0),
                  std::vector<double>(std::size_t(channels), 1.0));
}

Preprocessing Preprocessing::mean_std(std::vector<double> mean, std::vector<double> std) {
  if (mean.empty() || mean.size() != std.size()) {
    throw ConfigError(str("mean and std: expected one value of each per channel, found ",
                          mean.size(), " and ", std.size()));
  }
  for (std::size_t c = 0; c < mean.size(); ++c) {
    if (!std::isfinite(mean[c]) || !std::isfinite(std[c]) || !(std[c] > 0)) {
      throw ConfigError(str("mean and std: expected finite values and a positive std, found mean ",
                            mean[c], " and std ", std[c], " for channel ", c));
    }
  }
  Preprocessing result;
  result.kind_ = Kind::MeanStd;
  result.mean_ = std::move(mean);
  result.std_ = std::move(std);
  return result;
}

Preprocessing Preprocessing::zca(ZcaMatrices matrices) {
  const std::int64_t dimensions = matrices.mean.defined() ? matrices.mean.numel() : 0;
  expect_shape(matrices.mean, {dimensions}, "ZCA mean");
  expect_shape(matrices.whiten, {dimensions, dimensions}, "ZCA matrix");
  expect_shape(matrices.inverse, {dimensions, dimensions}, "ZCA inverse");
  Preprocessing result;
  result.kind_ = Kind::Zca;
  result.zca_float_ = {.eps = matrices.eps,
                       .mean = matrices.mean.to(at::kFloat),
                       .whiten = matrices.whiten.to(at::kFloat),
                       .inverse = matrices.inverse.to(at::kFloat)};
  result.zca_ = std::move(matrices);
  return result;
}

Tensor Preprocessing::apply(const Tensor& pixels) const {
  const Tensor x = pixels.scalar_type() == at::kByte ? pixels.to(at::kFloat).div_(255) : pixels;
  if (kind_ == Kind::MeanStd) {
    expect_shape(x, {-1, std::int64_t(mean_.size()), -1, -1}, "images to normalise");
    return (x - per_channel(mean_, x)).div(per_channel(std_, x));
  }
  const ZcaMatrices& m = x.scalar_type() == at::kDouble ? zca_ : zca_float_;
  const Tensor flat = x.flatten(1);
  expect_shape(flat, {-1, m.mean.numel()}, "flattened images to whiten");
  return at::matmul(flat - m.mean.to(x.options()), m.whiten.to(x.options())).view(x.sizes());
}

Tensor Preprocessing::invert(const Tensor& images) const {
  if (kind_ == Kind::MeanStd) {
    expect_shape(images, {-1, std::int64_t(mean_.size()), -1, -1}, "normalised images");
    return images * per_channel(std_, images) + per_channel(mean_, images);
  }
  const ZcaMatrices& m = images.scalar_type() == at::kDouble ? zca_ : zca_float_;
  const Tensor flat = images.flatten(1);
  expect_shape(flat, {-1, m.mean.numel()}, "flattened whitened images");
  return (at::matmul(flat, m.inverse.to(images.options())) + m.mean.to(images.options()))
      .view(images.sizes());
}

Preprocessing Preprocessing::on(at::Device device) const {
  Preprocessing result = *this;
  if (kind_ == Kind::Zca) {
    result.zca_float_.mean = zca_float_.mean.to(device);
    result.zca_float_.whiten = zca_float_.whiten.to(device);
    result.zca_float_.inverse = zca_float_.inverse.to(device);
  }
  return result;
}

std::string Preprocessing::description() const {
  if (kind_ == Kind::Zca) return str("zca eps ", zca_.eps);
  return str("mean-std (", channel_text(mean_), " | ", channel_text(std_), ")");
}

}  // namespace retort::data
