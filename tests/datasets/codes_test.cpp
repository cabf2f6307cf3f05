#include "datasets/codes/codes.h"

#include <set>

#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace retort;
using data::Split;
using datasets::codes::make_codes;

TEST_CASE("codes are the same pixels every time, a thousand classes with names of their own",
          "[datasets][codes]") {
  const auto dataset = make_codes({.classes = 1000, .train_per_class = 1, .test_per_class = 1});
  CHECK(dataset.shape() == data::ImageShape{3, 32, 32});
  CHECK(dataset.num_classes() == 1000);
  const auto& names = dataset.info().class_names;
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == 1000);
  CHECK(names[0] == "disc-white-plain");
  CHECK(names[999] == "saltire-black-rings");
  const testing::WithThreads threads(2);
  const auto again = make_codes({.classes = 1000, .train_per_class = 1, .test_per_class = 1});
  CHECK(again.info().sha256 == dataset.info().sha256);
}

TEST_CASE("a class of codes does not depend on how many there are", "[datasets][codes]") {
  const auto few = make_codes({.classes = 10, .train_per_class = 3, .test_per_class = 1});
  const auto more = make_codes({.classes = 100, .train_per_class = 3, .test_per_class = 1});
  for (std::int64_t c = 0; c < 10; ++c) {
    CHECK(at::equal(few.pixels(Split::Train, few.class_indices(c)),
                    more.pixels(Split::Train, more.class_indices(c))));
  }
}

TEST_CASE("images of a class of codes differ", "[datasets][codes]") {
  const auto dataset =
      make_codes({.classes = 200, .train_per_class = 20, .test_per_class = 1, .noise = 0});
  const auto images = [&](std::int64_t c) {
    return dataset.pixels(Split::Train, dataset.class_indices(c)).to(at::kFloat);
  };
  CHECK_FALSE(at::equal(images(0)[0], images(0)[1]));
  // White and red discs, in the mean over all pixels of green.
  const auto green = [&](std::int64_t c) { return images(c).select(1, 1).mean().item<float>(); };
  CHECK(green(0) > green(10) + 30);
  // A plain ground has one value, rows have two.
  const auto corner_deviation = [&](std::int64_t c) {
    return images(c).select(1, 2).narrow(1, 0, 8).std(1).min().item<float>();
  };
  CHECK(corner_deviation(0) < 1);
  CHECK(images(100).select(1, 2).narrow(2, 0, 2).std(1).mean().item<float>() > 10);
}

TEST_CASE("codes refuse what they cannot make", "[datasets][codes]") {
  CHECK_THROWS_WITH_TEXT(make_codes({.classes = 1001}), ConfigError, "expected 2 to 1000 classes");
  CHECK_THROWS_WITH_TEXT(make_codes({.side = 8}), ConfigError, "side of 16 or more, found 8");
  CHECK_THROWS_WITH_TEXT(make_codes({.test_per_class = 0}), ConfigError, "images per class");
  CHECK(datasets::open_dataset("codes-10", {}).num_classes() == 10);
}
