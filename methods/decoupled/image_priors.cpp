#include "methods/decoupled/image_priors.h"

namespace retort::methods::decoupled {
namespace {

/// Without the last and without the first row (dim 2) or column (dim 3).
Tensor head(const Tensor& x, std::int64_t dim) { return x.slice(dim, 0, x.size(dim) - 1); }
Tensor tail(const Tensor& x, std::int64_t dim) { return x.slice(dim, 1); }

}  // namespace

Tensor total_variation(const Tensor& images) {
  const Tensor upper = head(images, 2);
  const Tensor lower = tail(images, 2);
  return (head(images, 3) - tail(images, 3)).norm() + (upper - lower).norm() +
         (head(lower, 3) - tail(upper, 3)).norm() + (head(upper, 3) - tail(lower, 3)).norm();
}

Tensor mean_norm(const Tensor& images) { return images.flatten(1).norm(2, {1}).mean(); }

}  // namespace retort::methods::decoupled
