#include "lib/data/pixels.h"

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"

using namespace retort;
using data::Preprocessing;

namespace {

Preprocessing imagenet() {
  return Preprocessing::mean_std({0.485, 0.456, 0.406}, {0.229, 0.224, 0.225});
}

}  // namespace

TEST_CASE("clamping to pixels is idempotent and reaches exactly black and white",
          "[data][pixels]") {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const Tensor x = Rng(1).normal_tensor({4, 3, 9, 7}).mul(3).to(type);
    const Tensor once = data::clamp_to_pixels(imagenet(), x);
    CHECK(data::clamp_to_pixels(imagenet(), once).equal(once));
    CHECK(once.lt(x).any().item<bool>());
    const Tensor pixels = imagenet().invert(once);
    CHECK(pixels.min().item<double>() > -1e-6);
    CHECK(pixels.max().item<double>() < 1 + 1e-6);
  }
  const Tensor black = data::clamp_to_pixels(imagenet(), at::full({1, 3, 1, 1}, -100.0));
  CHECK_CLOSE(black.flatten().to(at::kDouble),
              at::tensor({-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225}, at::kDouble), 1e-6);
}

TEST_CASE("stored bytes are pixels cut off, within one quantum of the image", "[data][pixels]") {
  const Tensor x = data::clamp_to_pixels(imagenet(), Rng(2).normal_tensor({4, 3, 9, 7}));
  const Tensor bytes = data::truncated_bytes(imagenet(), x);
  CHECK(bytes.scalar_type() == at::kByte);
  const Tensor lost = (imagenet().invert(x) - imagenet().invert(imagenet().apply(bytes))).mul(255);
  CHECK(lost.min().item<double>() > -1e-3);
  CHECK(lost.max().item<double>() < 1 + 1e-3);
  // 0.9999 of the last quantum is still cut off; beyond the range pixels are clamped.
  const Tensor gray = at::tensor({-1.0F, 0.0F, 254.9999F / 255, 1.0F, 3.0F}).view({1, 1, 1, 5});
  CHECK(data::truncated_bytes(Preprocessing::identity(1), gray)
            .flatten()
            .equal(at::tensor({0, 0, 254, 255, 255}, at::kByte)));
}

TEST_CASE("images of bytes give exactly their bytes back", "[data][pixels]") {
  const Tensor bytes = at::arange(256).to(at::kByte).view({1, 1, 16, 16}).expand({2, 3, 16, 16});
  Tensor images = imagenet().apply(bytes);
  CHECK(data::exact_bytes(imagenet(), images).equal(bytes));
  images[1][2][3][4] += 0.001;
  images[0][0][0][0] = -50;
  CHECK_THROWS_WITH_TEXT(data::exact_bytes(imagenet(), images), DataError,
                         "2 of 1536 values are none that such a pixel becomes");
}

TEST_CASE("whitened images have no bounds to clamp to", "[data][pixels]") {
  const Tensor one = at::eye(1, at::kDouble);
  const auto zca = Preprocessing::zca(
      {.eps = 0.1, .mean = at::zeros({1}, at::kDouble), .whiten = one, .inverse = one});
  CHECK_THROWS_WITH_TEXT(data::clamp_to_pixels(zca, at::zeros({1, 1, 1, 1})), ConfigError,
                         "expected preprocessing by mean and std, found zca");
}
