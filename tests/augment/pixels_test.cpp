// Augmentation on 8-bit pixels: small cases by hand, properties, and what is drawn how often.
#include <cmath>
#include <map>

#include "lib/augment/pixel_operations.h"
#include "lib/augment/pixel_recipes.h"
#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using augment::PixelDraw;
using augment::PixelRecipe;
using Catch::Matchers::Contains;
using Op = augment::PixelOperation;

namespace {

Tensor gray(std::vector<std::int64_t> values, std::int64_t height, std::int64_t width) {
  return at::tensor(values, at::kLong).to(at::kByte).view({1, 1, height, width});
}

Tensor some_pixels(std::int64_t channels = 3) {
  return Rng(3).uniform_tensor({2, channels, 9, 12}, 0, 256).to(at::kByte);
}

PixelRecipe recipe_of(const std::string& name, bool mirror = true) {
  PixelRecipe recipe = PixelRecipe::parse(name);
  recipe.mirror = mirror;
  return recipe;
}

constexpr int kDraws = 40'000;

/// How often each operation stands in a draw, per draw.
std::map<Op, double> frequencies(const PixelRecipe& recipe) {
  Rng rng(7);
  std::map<Op, double> counts;
  for (int i = 0; i < kDraws; ++i) {
    for (const auto& step : augment::draw(recipe, 32, 32, rng).steps) {
      counts[step.operation] += 1.0 / kDraws;
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("at magnitudes that mean nothing pixels stay as they are", "[augment][pixels]") {
  const Tensor pixels = some_pixels();
  for (const Op operation : {Op::Identity, Op::ShearX, Op::ShearY, Op::TranslateX, Op::TranslateY,
                             Op::Rotate, Op::Brightness, Op::Color, Op::Contrast, Op::Sharpness}) {
    INFO(int(operation));
    CHECK(at::equal(augment::apply(operation, 0, pixels), pixels));
  }
  CHECK(at::equal(augment::apply(Op::Posterize, 8, pixels), pixels));
  CHECK(at::equal(augment::apply(Op::Solarize, 256, pixels), pixels));
}

TEST_CASE("inverting, mirroring and moving there and back return what they were given",
          "[augment][pixels]") {
  const Tensor pixels = some_pixels();
  const auto twice = [&](Op operation) {
    return augment::apply(operation, 0, augment::apply(operation, 0, pixels));
  };
  CHECK(at::equal(twice(Op::Invert), pixels));
  CHECK(at::equal(twice(Op::Flip), pixels));
  const Tensor back = augment::apply(Op::TranslateX, -3, augment::apply(Op::TranslateX, 3, pixels));
  CHECK(at::equal(back.slice(3, 0, 9), pixels.slice(3, 0, 9)));
  CHECK(back.slice(3, 9).max().item<int>() == 0);  // black came in
}

TEST_CASE("small images change as computed by hand", "[augment][pixels]") {
  const Tensor rows = gray({10, 20, 30, 40, 50, 60, 70, 80, 90}, 3, 3);
  const auto check = [](const Tensor& found, std::vector<std::int64_t> expected) {
    CHECK(at::equal(found.flatten(), at::tensor(expected, at::kLong).to(at::kByte)));
  };
  check(augment::apply(Op::TranslateX, 1, rows), {0, 10, 20, 0, 40, 50, 0, 70, 80});
  check(augment::apply(Op::TranslateY, -1.9, rows), {40, 50, 60, 70, 80, 90, 0, 0, 0});
  // A row takes from its column plus 0.8 (row + 1/2), the nearest.
  check(augment::apply(Op::ShearX, 0.8, rows), {10, 20, 30, 50, 60, 0, 90, 0, 0});
  check(augment::apply(Op::Rotate, 90, rows), {30, 60, 90, 20, 50, 80, 10, 40, 70});
  check(augment::apply(Op::Brightness, 0.5, rows), {15, 30, 45, 60, 75, 90, 105, 120, 135});
  // The mean is 50.
  check(augment::apply(Op::Contrast, -0.5, rows), {30, 35, 40, 45, 50, 55, 60, 65, 70});
  // In the middle the blurred value: (450 + 4 * 50) / 13 is 50, as before.
  check(augment::apply(Op::Sharpness, -1, gray({0, 0, 0, 0, 130, 0, 0, 0, 0}, 3, 3)),
        {0, 0, 0, 0, 50, 0, 0, 0, 0});
  check(augment::apply(Op::Posterize, 4, gray({15, 16, 31, 255}, 2, 2)), {0, 16, 16, 240});
  check(augment::apply(Op::Solarize, 128, gray({0, 127, 128, 255}, 2, 2)), {0, 127, 127, 0});
  check(augment::apply(Op::AutoContrast, 0, gray({50, 75, 100, 50}, 2, 2)), {0, 127, 255, 0});
  check(augment::apply(Op::Invert, 0, gray({0, 1, 254, 255}, 2, 2)), {255, 254, 1, 0});
}

TEST_CASE("a channel of one value has no contrast to stretch and no histogram to flatten",
          "[augment][pixels]") {
  const Tensor flat = at::full({1, 3, 4, 4}, 77, at::kByte);
  CHECK(at::equal(augment::apply(Op::AutoContrast, 0, flat), flat));
  CHECK(at::equal(augment::apply(Op::Equalize, 0, flat), flat));
}

TEST_CASE("equalizing keeps a flat histogram, and makes a crowded one wide", "[augment][pixels]") {
  const Tensor every = at::arange(256, at::kLong).to(at::kByte).view({1, 1, 16, 16});
  CHECK(at::equal(augment::apply(Op::Equalize, 0, every), every));
  const Tensor crowded =
      every.to(at::kLong).floor_divide(4).to(at::kByte).repeat({1, 1, 4, 4}) + 90;
  const Tensor wide = augment::apply(Op::Equalize, 0, crowded);
  CHECK(wide.min().item<int>() == 0);
  CHECK(wide.max().item<int>() == 255);
  int before = -1;
  for (int value = 90; value < 154; ++value) {
    const Tensor there = wide.index({crowded == value});
    CHECK(there.min().item<int>() == there.max().item<int>());
    CHECK(there.min().item<int>() >= before);  // the brightest are cut off at white
    before = there.max().item<int>();
  }
}

TEST_CASE("images of a batch do not see each other", "[augment][pixels]") {
  const Tensor pixels = some_pixels();
  for (int i = 0; i <= int(Op::Flip); ++i) {
    INFO(i);
    const Op operation = Op(i);
    const double magnitude = operation == Op::Hue ? 0.1 : 0.7;
    const Tensor both = augment::apply(operation, magnitude, pixels);
    CHECK(both.scalar_type() == at::kByte);
    CHECK(both.sizes() == pixels.sizes());
    CHECK(at::equal(both[1], augment::apply(operation, magnitude, pixels.slice(0, 1))[0]));
  }
}

TEST_CASE("gray images have neither colour nor hue", "[augment][pixels]") {
  const Tensor pixels = some_pixels(1);
  CHECK(at::equal(augment::apply(Op::Color, -1, pixels), pixels));
  CHECK(at::equal(augment::apply(Op::Hue, 0.3, pixels), pixels));
  const Tensor without = augment::apply(Op::Color, -1, some_pixels(3));
  CHECK(at::equal(without.select(1, 0), without.select(1, 1)));
}

TEST_CASE("RandAugment draws one of 14 operations, each as often, at its magnitude",
          "[augment][pixels][draws]") {
  const auto counts = frequencies(recipe_of("randaugment"));
  CHECK(counts.size() == 14);
  CHECK(counts.count(Op::Invert) == 0);
  for (const auto& [operation, share] : counts) {
    INFO(int(operation));
    CHECK(share == Approx(1.0 / 14).margin(0.006));
  }
  Rng rng(5);
  std::map<Op, std::vector<double>> seen;
  for (int i = 0; i < 2000; ++i) {
    const auto drawn = augment::draw(recipe_of("randaugment"), 32, 64, rng);
    REQUIRE(drawn.steps.size() == 1);
    seen[drawn.steps[0].operation].push_back(drawn.steps[0].magnitude);
  }
  // Level 9 of 0 .. 30.
  const std::map<Op, double> sizes = {{Op::ShearX, 0.09},
                                      {Op::Rotate, 9},
                                      {Op::Brightness, 0.27},
                                      {Op::Posterize, 7},
                                      {Op::Solarize, 178.5},
                                      {Op::Equalize, 0},
                                      {Op::TranslateX, 64 * 150 / 331.0 * 0.3},
                                      {Op::TranslateY, 32 * 150 / 331.0 * 0.3}};
  for (const auto& [operation, size] : sizes) {
    double negative = 0;
    for (const double magnitude : seen[operation]) {
      CHECK(std::abs(magnitude) == Approx(size).epsilon(1e-5));
      negative += magnitude < 0 ? 1.0 / double(seen[operation].size()) : 0;
    }
    const bool has_sign = operation != Op::Posterize && operation != Op::Solarize && size != 0;
    CHECK(negative == Approx(has_sign ? 0.5 : 0).margin(has_sign ? 0.15 : 0));
  }
}

TEST_CASE("AutoAugment draws one of 25 pairs, and of a pair by its probabilities",
          "[augment][pixels][draws]") {
  const auto counts = frequencies(recipe_of("autoaugment"));
  // Sums of the probabilities over the policy of CIFAR-10, by 25.
  CHECK(counts.at(Op::Invert) == Approx((0.1 + 0.0 + 0.1) / 25).margin(0.004));
  CHECK(counts.at(Op::Rotate) == Approx(0.7 / 25).margin(0.004));
  CHECK(counts.at(Op::Posterize) == Approx(0.3 / 25).margin(0.004));
  CHECK(counts.at(Op::ShearY) == Approx((0.5 + 0.2) / 25).margin(0.004));
  CHECK(counts.at(Op::TranslateY) == Approx((0.7 + 0.4 + 0.9 + 0.7 + 0.7) / 25).margin(0.01));
  CHECK(counts.count(Op::ShearX) == 0);  // is in the policy of ImageNet alone
  Rng rng(1);
  double shears = 0;
  for (int i = 0; i < kDraws; ++i) {
    for (const auto& step : augment::draw(recipe_of("autoaugment"), 64, 64, rng).steps) {
      shears += step.operation == Op::ShearX ? 1.0 / kDraws : 0;
    }
  }
  CHECK(shears == Approx(0.6 / 25).margin(0.004));
}

TEST_CASE("crops move by up to four pixels, mirror half of the time, and digits never",
          "[augment][pixels][draws]") {
  for (const char* name : {"imagenet", "cifar"}) {
    INFO(name);
    CHECK(frequencies(recipe_of(name)).at(Op::Flip) == Approx(0.5).margin(0.01));
    CHECK(frequencies(recipe_of(name, false)).count(Op::Flip) == 0);
  }
  Rng rng(2);
  std::map<double, int> moves;
  std::map<Op, double> first;
  double largest_hue = 0;
  double largest_factor = 0;
  for (int i = 0; i < 9000; ++i) {
    const auto drawn = augment::draw(recipe_of("imagenet", false), 32, 32, rng);
    REQUIRE(drawn.steps.size() == 6);
    CHECK_FALSE(drawn.cutout);
    ++moves[drawn.steps[0].magnitude];
    first[drawn.steps[2].operation] += 1.0 / 9000;
    for (std::size_t s = 2; s < 6; ++s) {
      const auto& step = drawn.steps[s];
      double& largest = step.operation == Op::Hue ? largest_hue : largest_factor;
      largest = std::max(largest, std::abs(step.magnitude));
    }
  }
  CHECK(moves.size() == 9);
  CHECK(moves.begin()->first == -4);
  CHECK(moves.rbegin()->first == 4);
  for (const auto& [move, count] : moves) CHECK(count == Approx(1000).margin(150));
  CHECK(first.size() == 4);  // in any order
  for (const auto& [operation, share] : first) CHECK(share == Approx(0.25).margin(0.03));
  CHECK(largest_hue <= 0.2);
  CHECK(largest_hue > 0.19);
  CHECK(largest_factor <= 0.4);
  CHECK(largest_factor > 0.39);
}

TEST_CASE("cutout erases a square of 16 pixels around any pixel to the mean", "[augment][pixels]") {
  const auto preprocessing = data::Preprocessing::mean_std({0.5}, {0.25});
  const Tensor images = at::ones({2, 1, 32, 32});
  const auto erased = [&](std::int64_t row, std::int64_t col) {
    const PixelDraw draw{.steps = {}, .cutout = PixelDraw::Center{row, col}};
    return (augment::apply(draw, images, preprocessing) == 0).sum().item<std::int64_t>() / 2;
  };
  CHECK(erased(16, 16) == 256);
  CHECK(erased(0, 0) == 64);
  CHECK(erased(31, 16) == 9 * 16);
  Rng rng(4);
  std::int64_t highest = 0;
  for (int i = 0; i < 500; ++i) {
    const auto drawn = augment::draw(recipe_of("cifar"), 8, 32, rng);
    REQUIRE(drawn.cutout);
    CHECK(drawn.cutout->row < 8);
    highest = std::max(highest, drawn.cutout->col);
  }
  CHECK(highest == 31);
}

TEST_CASE("images are cut off to 8 bits and come back preprocessed", "[augment][pixels]") {
  const auto preprocessing = data::Preprocessing::mean_std({0.4, 0.5, 0.6}, {0.2, 0.25, 0.3});
  const Tensor pixels = at::tensor({0.0, 0.9, 0.5, -0.3, 1.7, 0.2501}, at::kDouble)
                            .view({1, 1, 2, 3})
                            .expand({1, 3, 2, 3})
                            .contiguous();
  const Tensor images = preprocessing.apply(pixels);
  const Tensor expected =
      at::tensor({0.0, 229.0, 127.0, 0.0, 255.0, 63.0}, at::kDouble).view({1, 1, 2, 3}) / 255;
  const Tensor found = augment::apply(PixelDraw{}, images, preprocessing);
  CHECK(found.scalar_type() == at::kDouble);
  CHECK_CLOSE(preprocessing.invert(found), expected.expand({1, 3, 2, 3}), 1e-9);
  // Another operation and the same for all images.
  const PixelDraw inverted{.steps = {{Op::Invert, 0}}, .cutout = {}};
  CHECK_CLOSE(preprocessing.invert(augment::apply(inverted, images, preprocessing)),
              1 - expected.expand({1, 3, 2, 3}), 1e-9);
}

TEST_CASE("the same stream draws the same, and unknown recipes are refused", "[augment][pixels]") {
  for (const auto& name : augment::pixel_recipe_names()) {
    Rng one(9);
    Rng other(9);
    const auto a = augment::draw(recipe_of(name), 32, 32, one);
    const auto b = augment::draw(recipe_of(name), 32, 32, other);
    REQUIRE(a.steps.size() == b.steps.size());
    for (std::size_t i = 0; i < a.steps.size(); ++i) {
      CHECK(a.steps[i].magnitude == b.steps[i].magnitude);
    }
  }
  CHECK_THROWS_AS(PixelRecipe::parse("autoaugmnt"), ConfigError);
  CHECK_THROWS_WITH(PixelRecipe::parse("autoaugmnt"),
                    Contains("unknown augmentation 'autoaugmnt'; did you mean 'autoaugment'?"));
}
