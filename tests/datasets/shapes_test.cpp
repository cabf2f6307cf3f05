#include "datasets/shapes/shapes.h"

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using data::Split;
using datasets::open_dataset;

TEST_CASE("shapes are the same pixels every time, with all classes alike", "[datasets][shapes]") {
  const auto a = open_dataset("shapes", {});
  CHECK(a.shape() == data::ImageShape{1, 16, 16});
  CHECK(a.num_classes() == 4);
  CHECK(a.smallest_class() == 100);
  CHECK(a.size(Split::Test) == 200);
  CHECK(open_dataset("shapes", {}).info().sha256 == a.info().sha256);
  const auto rgb = open_dataset("shapes-rgb", {});
  CHECK(rgb.shape() == data::ImageShape{3, 16, 16});
  CHECK(rgb.num_classes() == 10);
  CHECK(rgb.info().sha256 != a.info().sha256);
}

TEST_CASE("shapes options change what they name", "[datasets][shapes]") {
  using datasets::shapes::make_shapes;
  const auto dataset = make_shapes({.classes = 3,
                                    .channels = 3,
                                    .side = 8,
                                    .train_per_class = 5,
                                    .test_per_class = 2,
                                    .noise = 0,
                                    .seed = 1});
  CHECK(dataset.shape() == data::ImageShape{3, 8, 8});
  CHECK(dataset.size(Split::Train) == 15);
  CHECK(dataset.size(Split::Test) == 6);
  CHECK(make_shapes({.seed = 1}).info().sha256 != make_shapes({.seed = 2}).info().sha256);
  CHECK_THROWS_WITH_TEXT(make_shapes({.classes = 11}), ConfigError, "expected 2 to 10 classes");
  CHECK_THROWS_WITH_TEXT(make_shapes({.channels = 2}), ConfigError, "1 or 3 channels, found 2");
  CHECK_THROWS_WITH_TEXT(make_shapes({.side = 4}), ConfigError, "side of 8 or more, found 4");
  CHECK_THROWS_WITH_TEXT(make_shapes({.train_per_class = 0}), ConfigError, "images per class");
}

TEST_CASE("shapes can be told apart, but not by their mean image", "[datasets][shapes]") {
  const auto dataset = open_dataset("shapes-rgb", {});
  const auto gray = [&](Split split) {
    const Tensor rows = at::arange(dataset.size(split), at::kLong);
    return dataset.batch(split, rows).mean(1).flatten(1);
  };
  const Tensor train = gray(Split::Train);
  const Tensor test = gray(Split::Test);
  const auto accuracy = [&](const Tensor& guess) {
    return guess.eq(dataset.labels(Split::Test)).to(at::kDouble).mean().item<double>();
  };
  const Tensor nearest = at::cdist(test, train).argmin(1);
  CHECK(accuracy(dataset.labels(Split::Train).index_select(0, nearest)) > 0.25);
  std::vector<Tensor> means;
  for (std::int64_t c = 0; c < 10; ++c) {
    means.push_back(train.index_select(0, dataset.class_indices(c)).mean(0));
  }
  CHECK(accuracy(at::cdist(test, at::stack(means)).argmin(1)) < 0.6);
}
