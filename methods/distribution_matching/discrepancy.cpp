#include "methods/distribution_matching/discrepancy.h"

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::methods::distribution_matching {
namespace {

/// @return [rows of a, rows of b]
Tensor squared_distances(const Tensor& a, const Tensor& b) {
  const Tensor lengths = a.square().sum(1, true) + b.square().sum(1).unsqueeze(0);
  return (lengths - 2 * at::mm(a, b.t())).clamp_min(0);
}

}  // namespace

Tensor gaussian_discrepancy(const Tensor& real, const Tensor& synthetic, double bandwidth) {
  if (real.size(0) < 2) {
    throw ConfigError(str("discrepancy gaussian: its bandwidth is measured between two or more ",
                          "real images of a class, found ", real.size(0)));
  }
  // Distances from squares lose digits far from the origin.
  const Tensor centre = real.mean(0, true);
  const Tensor r = real - centre;
  const Tensor x = synthetic - centre;
  const Tensor among_real = squared_distances(r, r);
  const double pairs = double(real.size(0)) * double(real.size(0) - 1);
  const Tensor variance = (bandwidth / pairs * among_real.sum()).clamp_min(1e-12);
  // k - 1 in the place of k: the ones of the three means cancel.
  const auto mean_kernel = [&](const Tensor& distances) {
    return at::expm1(distances / (-2 * variance)).mean();
  };
  return variance * (mean_kernel(among_real) + mean_kernel(squared_distances(x, x)) -
                     2 * mean_kernel(squared_distances(r, x)));
}

}  // namespace retort::methods::distribution_matching
