#include "lib/synth/nearest_real.h"

#include <memory>

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using synth::nearest_real;

namespace {

/// 1200 images of 2x2 in several blocks; image i has the pixels i / 256, i % 256, 0, 255.
data::ImageDataset numbered() {
  const Tensor i = at::arange(1200, at::kLong);
  const Tensor zero = at::zeros_like(i);
  const Tensor pixels = at::stack({i.div(256, "floor"), i.remainder(256), zero, zero + 255}, 1);
  data::DatasetInfo info;
  info.name = "numbered";
  info.class_names = {"even", "odd"};
  const data::DataSplit split{
      std::make_shared<data::MemoryStore>(pixels.to(at::kByte).view({-1, 1, 2, 2})),
      i.remainder(2)};
  return {info, split, split, data::Preprocessing::identity(1)};
}

Tensor image(int a, int b, int c, int d) {
  return at::tensor({a, b, c, d}, at::kByte).view({1, 1, 2, 2});
}

}  // namespace

TEST_CASE("a real image is nearest to itself", "[synth]") {
  const data::ImageDataset dataset = numbered();
  const Tensor indices = at::tensor({0, 511, 512, 1199, 700}, at::kLong);
  const auto found = nearest_real(dataset.pixels(data::Split::Train, indices), dataset);
  CHECK(at::equal(found.indices, indices));
  CHECK(found.distances.max().item<double>() == 0);
}

TEST_CASE("the distance to the nearest real image is the root mean square of differences",
          "[synth]") {
  const data::ImageDataset dataset = numbered();
  const auto found = nearest_real(at::cat({image(2, 10, 4, 255), image(0, 0, 0, 0)}), dataset);
  CHECK(found.indices[0].item<std::int64_t>() == 2 * 256 + 10);
  CHECK(found.distances[0].item<double>() == Approx(2.0 / 255));  // sqrt(16 / 4)
  CHECK(found.indices[1].item<std::int64_t>() == 0);
  CHECK(found.distances[1].item<double>() == Approx(0.5));
}

TEST_CASE("the search for real images stops on request and refuses other shapes", "[synth]") {
  const data::ImageDataset dataset = numbered();
  StopFlag stop;
  stop.request();
  CHECK_THROWS_AS(nearest_real(image(0, 0, 0, 0), dataset, &stop), Interrupted);
  CHECK_THROWS_WITH_TEXT(nearest_real(at::zeros({1, 3, 2, 2}, at::kByte), dataset), ConfigError,
                         "pixels");
}
