#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::data {

struct ImageShape {
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;

  std::int64_t numel() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

/// ZCA whitening with kornia's semantics (methods: Cazenavette et al. 2022; DD-Ranking).
///   Sigma = U diag(s) U^T over N-1;  W = U diag((s+eps)^(-1/2)) U^T
/// computed in float64; `inverse` is U diag((s+eps)^(1/2)) U^T.
struct ZcaMatrices {
  double eps = 0.1;
  Tensor mean;     ///< [D] float64, of images in [0,1]
  Tensor whiten;   ///< [D,D] float64
  Tensor inverse;  ///< [D,D] float64
};

/// @param images [N,C,H,W], floating, in [0,1], N >= 2
/// @throws NumericalError when the covariance holds a non-finite value
///         ConfigError for fewer than two images or a negative eps
ZcaMatrices fit_zca(const Tensor& images, double eps = 0.1);

/// The invertible map from pixels in [0,1] to what networks see: per-channel mean and std, or ZCA.
/// A value: travels inside every set, expert and teacher file.
class Preprocessing {
 public:
  enum class Kind { MeanStd, Zca };

  /// The identity on `channels` channels.
  static Preprocessing identity(std::int64_t channels);
  /// @throws ConfigError unless both have one entry per channel, all finite, std positive
  static Preprocessing mean_std(std::vector<double> mean, std::vector<double> std);
  /// @throws ConfigError unless the shapes are [D], [D,D], [D,D]
  static Preprocessing zca(ZcaMatrices matrices);

  Kind kind() const { return kind_; }
  const std::vector<double>& mean() const { return mean_; }  ///< [C]; MeanStd only
  const std::vector<double>& std() const { return std_; }    ///< [C]; MeanStd only
  const ZcaMatrices& zca_matrices() const { return zca_; }   ///< Zca only

  /// uint8 [N,C,H,W] (0..255) or floating in [0,1] -> preprocessed, same shape; float32 for uint8
  /// input, else the input's dtype. Differentiable, on the input's device.
  Tensor apply(const Tensor& pixels) const;
  /// Exact inverse of apply, to [0,1] space, not clipped; dtype of the input.
  Tensor invert(const Tensor& images) const;

  /// The same map for float32 images on `device`: what apply and invert multiply with is there, so
  /// that a batch moves nothing. Images elsewhere are served as well, slower.
  Preprocessing on(at::Device device) const;

  /// "mean-std (0.2861 | 0.353)" or "zca eps 0.1"
  std::string description() const;

 private:
  Kind kind_ = Kind::MeanStd;
  std::vector<double> mean_;
  std::vector<double> std_;
  ZcaMatrices zca_;
  ZcaMatrices zca_float_;  // in float32 and on the device of on(), once instead of once per batch
};

}  // namespace retort::data
