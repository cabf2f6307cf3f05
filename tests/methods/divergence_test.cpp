#include "methods/divergence.h"

#include "lib/core/rng.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using data::Preprocessing;

namespace {

double largest(const Tensor& images) { return images.abs().max().item<double>(); }

}  // namespace

TEST_CASE("the largest pixel is black or white, whichever is further from the mean",
          "[methods][divergence]") {
  CHECK(largest_pixel(Preprocessing::mean_std({0.25}, {0.5})) == Approx(1.5));    // white
  CHECK(largest_pixel(Preprocessing::mean_std({0.75}, {0.125})) == Approx(6.0));  // black
  CHECK(largest_pixel(Preprocessing::mean_std({0.5, 0.5}, {0.25, 0.001})) == Approx(500));
  CHECK(largest_pixel(Preprocessing::identity(3)) == 1);
  CHECK(largest_pixel(Preprocessing::mean_std({0}, {100})) == 1);  // images that all but vanish
  const auto p = Preprocessing::mean_std({0.1, 0.6, 0.3}, {0.2, 0.3, 0.4});
  const Tensor extremes =
      at::tensor({0.0, 1.0}, at::kDouble).view({2, 1, 1, 1}).repeat({1, 3, 1, 1});
  CHECK(largest_pixel(p) == Approx(largest(p.apply(extremes))));
}

TEST_CASE("no image exceeds the largest pixel of whitening", "[methods][divergence]") {
  const Tensor images = Rng(1).uniform_tensor({40, 3, 2, 3}).to(at::kDouble);
  const auto p = Preprocessing::zca(data::fit_zca(images, 1e-3));
  CHECK(largest(p.apply(images)) <= largest_pixel(p));
  // The worst image for one value: white where the matrix is positive, black elsewhere.
  const Tensor whiten = p.zca_matrices().whiten;
  const Tensor worst = (whiten.t() > 0).to(at::kDouble).view({18, 3, 2, 3});
  CHECK(largest(p.apply(worst)) <= largest_pixel(p));
  CHECK(largest(p.apply(worst)) > largest_pixel(p) / 4);
}

TEST_CASE("the limit is 10000 times the largest pixel", "[methods][divergence]") {
  CHECK(divergence_limit(Preprocessing::identity(1)) == 10000);
  CHECK(divergence_limit(Preprocessing::mean_std({0.75}, {0.125})) == Approx(60000));
}
