#include "lib/data/preprocessing.h"

#include <limits>

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "lib/data/image_dataset.h"
#include "tests/support/catch.h"

using namespace retort;
using data::Preprocessing;

namespace {

Tensor random_pixels(std::int64_t n, std::int64_t channels, std::int64_t height, std::int64_t width,
                     std::uint64_t seed = 1) {
  return Rng(seed).uniform_tensor({n, channels, height, width}, 0, 256).to(at::kByte);
}

}  // namespace

TEST_CASE("mean and std normalise per channel as written in the papers", "[data][preprocessing]") {
  const auto p = Preprocessing::mean_std({0.5, 0.25}, {0.2, 0.5});
  const Tensor pixels = at::tensor({0, 255, 51, 102}, at::kByte).view({1, 2, 1, 2});
  // (0 - 0.5)/0.2, (1 - 0.5)/0.2, (0.2 - 0.25)/0.5, (0.4 - 0.25)/0.5
  const Tensor expected = at::tensor({-2.5F, 2.5F, -0.1F, 0.3F}).view({1, 2, 1, 2});
  const Tensor x = p.apply(pixels);
  CHECK(x.scalar_type() == at::kFloat);
  CHECK_CLOSE(x, expected, 1e-6);
  CHECK_CLOSE(p.invert(x), pixels.to(at::kFloat) / 255, 1e-6);
  CHECK_CLOSE(p.apply(pixels.to(at::kDouble) / 255), expected.to(at::kDouble), 1e-7);
  CHECK(p.description() == "mean-std (0.5 0.25 | 0.2 0.5)");
}

TEST_CASE("the identity only rescales bytes", "[data][preprocessing]") {
  const Tensor pixels = random_pixels(2, 3, 4, 5);
  CHECK(Preprocessing::identity(3).apply(pixels).equal(pixels.to(at::kFloat) / 255));
}

TEST_CASE("preprocessing keeps the graph", "[data][preprocessing]") {
  const Tensor x = Rng(3).uniform_tensor({1, 1, 2, 2}).to(at::kDouble).set_requires_grad(true);
  Preprocessing::mean_std({0.1}, {0.25}).apply(x).sum().backward();
  CHECK_CLOSE(x.grad(), at::full({1, 1, 2, 2}, 4.0, at::kDouble), 1e-12);
}

TEST_CASE("ZCA inverts exactly and matches its definition", "[data][zca]") {
  const Tensor images = random_pixels(40, 3, 2, 3).to(at::kDouble) / 255;
  const auto zca = data::fit_zca(images, 0.1);
  const Tensor flat = images.flatten(1);
  CHECK_CLOSE(zca.mean, flat.mean(0), 1e-12);
  const Tensor centred = flat - zca.mean;
  const Tensor covariance = at::matmul(centred.t(), centred) / 39.0;
  // W (Sigma + eps) W = 1, W and its inverse multiply to 1: both fix W, a symmetric root, uniquely.
  const Tensor one = at::eye(18, at::kDouble);
  CHECK_CLOSE(at::matmul(zca.whiten, at::matmul(covariance + 0.1 * one, zca.whiten)), one, 1e-10);
  CHECK_CLOSE(at::matmul(zca.whiten, zca.inverse), one, 1e-10);
  CHECK_CLOSE(zca.whiten, zca.whiten.t(), 1e-12);

  const auto p = Preprocessing::zca(zca);
  CHECK_CLOSE(p.invert(p.apply(images)), images, 1e-12);
  const Tensor single = images.to(at::kFloat);
  CHECK(p.apply(single).scalar_type() == at::kFloat);
  CHECK_CLOSE(p.invert(p.apply(single)), single, 1e-5);
  CHECK(p.description() == "zca eps 0.1");
}

TEST_CASE("fitting ZCA in blocks of bytes equals fitting all images", "[data][zca]") {
  const Tensor pixels = random_pixels(2500, 1, 3, 3);  // more than one block
  const auto whole = data::fit_zca(pixels.to(at::kDouble) / 255, 0.05);
  const auto blocks = data::fit_zca(data::MemoryStore(pixels), 0.05);
  CHECK_CLOSE(blocks.whiten, whole.whiten, 1e-11);
  CHECK_CLOSE(blocks.inverse, whole.inverse, 1e-11);
}

TEST_CASE("ZCA moved to a device works there and is stored as it was", "[data][zca]") {
  const Tensor pixels = random_pixels(6, 1, 3, 2);
  const auto p = Preprocessing::zca(data::fit_zca(pixels.to(at::kDouble) / 255));
  CHECK(p.on(at::kCPU).apply(pixels).equal(p.apply(pixels)));
  // The device "meta" stands for one that is not there: it knows shapes, and no values.
  const auto there = p.on(at::kMeta);
  const Tensor x = there.apply(pixels.to(at::kMeta));
  CHECK(x.is_meta());
  CHECK(x.sizes() == pixels.sizes());
  CHECK(there.invert(x).is_meta());
  CHECK(there.zca_matrices().whiten.equal(p.zca_matrices().whiten));
  CHECK(there.apply(pixels.to(at::kDouble) / 255).equal(p.apply(pixels.to(at::kDouble) / 255)));
  // What stayed behind would be copied with every batch; nothing did, so there is nothing here.
  CHECK_THROWS_AS(there.apply(pixels), c10::Error);
}

TEST_CASE("preprocessing that cannot be inverted or fitted is refused", "[data][preprocessing]") {
  CHECK_THROWS_WITH_TEXT(Preprocessing::mean_std({0.5}, {0.0}), ConfigError, "positive std");
  CHECK_THROWS_WITH_TEXT(Preprocessing::mean_std({0.5}, {0.1, 0.2}), ConfigError, "found 1 and 2");
  CHECK_THROWS_WITH_TEXT(Preprocessing::mean_std({0.5}, {0.1}).apply(random_pixels(1, 3, 2, 2)),
                         ConfigError, "images to normalise");
  Tensor images = Rng(4).uniform_tensor({4, 1, 2, 2}).to(at::kDouble);
  CHECK_THROWS_WITH_TEXT(data::fit_zca(images.narrow(0, 0, 1)), ConfigError, "two images or more");
  CHECK_THROWS_WITH_TEXT(data::fit_zca(images, 0.0), ConfigError, "eps must be a positive number");
  const auto p = Preprocessing::zca(data::fit_zca(images));
  CHECK_THROWS_WITH_TEXT(p.apply(Rng(5).uniform_tensor({1, 1, 3, 3})), ConfigError, "to whiten");
  images.view(-1)[3] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_TEXT(data::fit_zca(images), NumericalError, "non-finite");
}

TEST_CASE("computed mean and std are those of all pixels", "[data][preprocessing]") {
  const Tensor pixels = random_pixels(2100, 3, 4, 4);
  const auto p = data::compute_mean_std(data::MemoryStore(pixels));
  const Tensor x = pixels.to(at::kDouble).div(255).transpose(0, 1).flatten(1);
  CHECK_CLOSE(at::tensor(p.mean(), at::kDouble), x.mean(1), 1e-12);
  CHECK_CLOSE(at::tensor(p.std(), at::kDouble), x.std(1, /*unbiased=*/false), 1e-12);
  const auto flat =
      data::compute_mean_std(data::MemoryStore(at::full({3, 1, 2, 2}, 51, at::kByte)));
  CHECK(flat.mean()[0] == Approx(0.2));
  CHECK(flat.std()[0] == 1e-3);
}
