#include "lib/augment/views.h"

#include <algorithm>
#include <cmath>

#include "lib/augment/mix.h"
#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using augment::SharedView;
using augment::ViewPolicy;
using data::BatchViews;
using data::ImageSize;
using data::Mix;
using data::PixelBox;

namespace {

Tensor random_images(at::IntArrayRef shape, std::uint64_t seed = 1) {
  return Rng(seed).child("x").normal_tensor(shape).to(at::kDouble);
}

SharedView shared_view(const PixelBox& crop, bool flip, std::int64_t rows, std::int64_t cols) {
  SharedView view;
  view.crop = crop;
  view.flip = flip;
  view.roll_rows = rows;
  view.roll_cols = cols;
  return view;
}

/// One value of a bilinear enlargement, by its definition: the pixel centres are at 0.5, 1.5, ...
double enlarged(const Tensor& crop, double row, double col) {
  const auto tap = [](double at, std::int64_t size) {
    const double inside = std::clamp(at, 0.0, double(size - 1));
    const auto low = std::min(std::int64_t(inside), std::max<std::int64_t>(size - 2, 0));
    return std::pair(low, inside - double(low));
  };
  const auto [r, down] = tap(row, crop.size(0));
  const auto [c, right] = tap(col, crop.size(1));
  const auto pixel = [&](std::int64_t i, std::int64_t j) {
    return crop[std::min(i, crop.size(0) - 1)][std::min(j, crop.size(1) - 1)].item<double>();
  };
  return (1 - down) * ((1 - right) * pixel(r, c) + right * pixel(r, c + 1)) +
         down * ((1 - right) * pixel(r + 1, c) + right * pixel(r + 1, c + 1));
}

/// Crop, then mirror, then roll, one pixel at a time.  @param image [H,W]
Tensor viewed_by_hand(const Tensor& image, const SharedView& view, ImageSize canvas) {
  const Tensor crop =
      image.narrow(0, view.crop.top, view.crop.height).narrow(1, view.crop.left, view.crop.width);
  Tensor out = at::empty({canvas.height, canvas.width}, at::kDouble);
  for (std::int64_t i = 0; i < canvas.height; ++i) {
    for (std::int64_t j = 0; j < canvas.width; ++j) {
      const double row = (double(i) + 0.5) * double(view.crop.height) / double(canvas.height) - 0.5;
      const double col = (double(j) + 0.5) * double(view.crop.width) / double(canvas.width) - 0.5;
      const std::int64_t mirrored = view.flip ? canvas.width - 1 - j : j;
      const auto wrapped = [](std::int64_t at, std::int64_t size) {
        return ((at % size) + size) % size;
      };
      out[wrapped(i + view.roll_rows, canvas.height)]
         [wrapped(mirrored + view.roll_cols, canvas.width)] = enlarged(crop, row, col);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("crops never exceed the image, and areas and ratios are those asked for",
          "[augment][views]") {
  ViewPolicy policy;
  policy.smallest_area = 0.2;
  policy.largest_area = 0.6;
  Rng rng(5);
  const ImageSize image{100, 120};
  double area_sum = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const PixelBox crop = augment::draw_crop(policy, image, rng);
    REQUIRE(crop.height >= 1);
    REQUIRE(crop.width >= 1);
    REQUIRE(lies_inside(crop, image));
    const double area = double(crop.height * crop.width) / (100 * 120);
    const double ratio = double(crop.width) / double(crop.height);
    REQUIRE(area > 0.19);
    REQUIRE(area < 0.61);
    REQUIRE(ratio > 0.73);
    REQUIRE(ratio < 1.37);
    area_sum += area;
  }
  // Nearly no draw is refused here, so areas are uniform: deviation 0.4 / sqrt(12 * draws).
  CHECK(std::abs(area_sum / kDraws - 0.4) < 0.006);
  for (const ImageSize odd : {ImageSize{1, 1}, ImageSize{1, 7}, ImageSize{9, 2}, ImageSize{8, 8}}) {
    for (int i = 0; i < 500; ++i) {
      const PixelBox crop = augment::draw_crop({}, odd, rng);
      REQUIRE(crop.height >= 1);
      REQUIRE(crop.width >= 1);
      REQUIRE(lies_inside(crop, odd));
    }
  }
}

TEST_CASE("crops of the whole area are the whole square image", "[augment][views]") {
  ViewPolicy policy;
  policy.smallest_area = 1;
  policy.flip = false;
  const Tensor x = random_images({2, 3, 32, 32});
  for (int i = 0; i < 500; ++i) {
    const SharedView view = augment::draw_shared_view(policy, {32, 32}, Rng(std::uint64_t(i)));
    REQUIRE(view.crop == PixelBox{0, 0, 32, 32});
    REQUIRE(augment::apply_view(view, x, {32, 32}).is_same(x));
  }
  const BatchViews views = augment::draw_views(policy, 2, {32, 32}, Rng(1));
  CHECK(augment::apply_views(views, x, {32, 32}).is_same(x));
  // Beside a view that does something, the identity stays exact.
  BatchViews mirrored = views;
  mirrored.flips[1] = true;
  const Tensor y = augment::apply_views(mirrored, x, {32, 32});
  CHECK(y[0].equal(x[0]));
  CHECK(y[1].equal(x[1].flip(2)));
}

TEST_CASE("what no try accepts is cropped in the middle, at the nearest allowed ratio",
          "[augment][views]") {
  ViewPolicy policy;
  policy.smallest_area = 1;
  Rng rng(2);
  CHECK(augment::draw_crop(policy, {6, 20}, rng) == PixelBox{0, 6, 6, 8});
  CHECK(augment::draw_crop(policy, {20, 6}, rng) == PixelBox{6, 0, 8, 6});
}

TEST_CASE("a view is crop, then mirror, then roll", "[augment][views]") {
  const Tensor x = random_images({2, 2, 7, 9});
  for (const ImageSize canvas : {ImageSize{7, 9}, ImageSize{11, 10}}) {
    for (const PixelBox& crop :
         {PixelBox{0, 0, 7, 9}, PixelBox{2, 3, 4, 5}, PixelBox{6, 8, 1, 1}, PixelBox{0, 1, 7, 1}}) {
      const SharedView view = shared_view(crop, crop.left != 1, 2, -3);
      const Tensor y = augment::apply_view(view, x, canvas);
      CHECK_CLOSE(y[1][0], viewed_by_hand(x[1][0], view, canvas), 1e-12);
      CHECK_CLOSE(y[0][1], viewed_by_hand(x[0][1], view, canvas), 1e-12);
    }
  }
}

TEST_CASE("views of single images are those of a batch that shares them", "[augment][views]") {
  const Tensor x = random_images({40, 3, 12, 10});
  for (const ImageSize canvas : {ImageSize{12, 10}, ImageSize{13, 17}}) {
    const BatchViews views = augment::draw_views({}, 40, {12, 10}, Rng(8));
    const Tensor y = augment::apply_views(views, x, canvas);
    for (std::int64_t i = 0; i < 40; ++i) {
      const SharedView view =
          shared_view(views.crops[std::size_t(i)], views.flips[std::size_t(i)], 0, 0);
      CHECK_CLOSE(y.narrow(0, i, 1), augment::apply_view(view, x.narrow(0, i, 1), canvas), 1e-12);
    }
    CHECK(y.equal(augment::apply_views(views, x, canvas)));
  }
}

TEST_CASE("views and mixes pass the gradient check", "[augment][views][gradient]") {
  const Tensor x = random_images({3, 2, 7, 6});
  const SharedView shared = shared_view({1, 2, 5, 3}, true, 3, -1);
  CHECK(testing::direction_error(
            [&](const Tensor& t) {
              return augment::apply_view(shared, t, {8, 6});
            },
            x) < 1e-6);
  for (const auto kind : {Mix::Kind::None, Mix::Kind::CutMix, Mix::Kind::MixUp}) {
    BatchViews views = augment::draw_views({}, 3, {7, 6}, Rng(3));
    views.mix = augment::draw_mix(kind, 3, {8, 6}, Rng(4));
    CHECK(testing::direction_error(
              [&](const Tensor& t) {
                return augment::apply_views(views, t, {8, 6});
              },
              x) < 1e-6);
  }
}

TEST_CASE("every part of a view has a stream of its own", "[augment][views]") {
  ViewPolicy all;
  all.roll_to = 4;
  ViewPolicy rolled = all;
  rolled.crop = rolled.flip = false;
  const ImageSize image{32, 32};
  std::vector<std::int64_t> rolls(5), flips(2);
  for (int i = 0; i < 2000; ++i) {
    const Rng rng(std::uint64_t(i) + 100);
    const SharedView view = augment::draw_shared_view(all, image, rng);
    const SharedView other = augment::draw_shared_view(rolled, image, rng);
    REQUIRE(view.roll_rows == other.roll_rows);
    REQUIRE(view.roll_cols == other.roll_cols);
    ++rolls.at(std::size_t(view.roll_rows));
    ++flips.at(view.flip ? 1 : 0);
  }
  testing::check_uniform(rolls);
  testing::check_uniform(flips);
  // An image's view does not depend on how many there are.
  const BatchViews few = augment::draw_views({}, 3, image, Rng(7));
  const BatchViews many = augment::draw_views({}, 9, image, Rng(7));
  CHECK(std::equal(few.crops.begin(), few.crops.end(), many.crops.begin()));
  CHECK(std::equal(few.flips.begin(), few.flips.end(), many.flips.begin()));
}

TEST_CASE("MixUp draws its weights from Beta(0.8, 0.8), CutMix uniformly", "[augment][mix]") {
  constexpr std::int64_t kDraws = 20000;
  const auto lambdas = [](Mix::Kind kind) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < kDraws; ++i) {
      const Mix mix = augment::draw_mix(kind, 2, {8, 8}, Rng(6).child(i));
      REQUIRE(double(float(mix.lambda)) == mix.lambda);
      values.push_back(mix.lambda);
    }
    return at::tensor(values, at::kDouble);
  };
  // Mean 1/2, variance 1 / (4 (2 alpha + 1)); bounds are about 5 standard deviations.
  const Tensor mixup = lambdas(Mix::Kind::MixUp);
  CHECK(std::abs(mixup.mean().item<double>() - 0.5) < 0.011);
  CHECK(std::abs(mixup.var().item<double>() - 1 / (4 * 2.6)) < 0.003);
  const Tensor cutmix = lambdas(Mix::Kind::CutMix);
  CHECK(std::abs(cutmix.mean().item<double>() - 0.5) < 0.011);
  CHECK(std::abs(cutmix.var().item<double>() - 1.0 / 12) < 0.003);
}

TEST_CASE("CutMix pastes the partner's box, MixUp weighs, and nothing mixed is the batch itself",
          "[augment][mix]") {
  const Tensor x = random_images({4, 2, 9, 6});
  for (std::int64_t i = 0; i < 50; ++i) {
    const Mix mix = augment::draw_mix(Mix::Kind::CutMix, 4, {9, 6}, Rng(9).child(i));
    REQUIRE(lies_inside(mix.box, {9, 6}));
    Tensor mask = at::zeros({9, 6}, at::kBool);
    mask.narrow(0, mix.box.top, mix.box.height).narrow(1, mix.box.left, mix.box.width).fill_(true);
    const Tensor partner = x.index_select(0, at::tensor(mix.partner, at::kLong));
    CHECK(augment::apply_mix(mix, x).equal(at::where(mask, partner, x)));
  }
  const Mix mixup = augment::draw_mix(Mix::Kind::MixUp, 4, {9, 6}, Rng(9));
  CHECK(mixup.box == PixelBox{});
  const Tensor partner = x.index_select(0, at::tensor(mixup.partner, at::kLong));
  CHECK_CLOSE(augment::apply_mix(mixup, x), at::lerp(partner, x, mixup.lambda), 1e-12);
  CHECK(augment::apply_mix(augment::draw_mix(Mix::Kind::None, 4, {9, 6}, Rng(9)), x).is_same(x));
}

TEST_CASE("what cannot be viewed or mixed is refused", "[augment][views]") {
  const Tensor x = random_images({2, 1, 8, 8});
  const auto refuse = [&](const std::string& text, const SharedView& view, ImageSize canvas) {
    CHECK_THROWS_WITH_TEXT(augment::apply_view(view, x, canvas), ConfigError, text);
  };
  refuse("expected a crop inside of 8 x 8 pixels, found (top 1, left 0, 8 x 8 pixels)",
         shared_view({1, 0, 8, 8}, false, 0, 0), {8, 8});
  refuse("enlarged, never reduced: expected at most 7 x 8 pixels, found (top 0, left 0, 8 x 8",
         shared_view({0, 0, 8, 8}, false, 0, 0), {7, 8});
  BatchViews views = augment::draw_views({}, 2, {8, 8}, Rng(1));
  CHECK_THROWS_WITH_TEXT(augment::apply_views(views, x.repeat({2, 1, 1, 1}), {8, 8}), ConfigError,
                         "were drawn for 2 images, found a batch of 4");
  views.crops[1].left = -1;
  CHECK_THROWS_WITH_TEXT(augment::apply_views(views, x, {8, 8}), ConfigError, "found (top");
  CHECK_THROWS_WITH_TEXT(augment::apply_view({}, x.to(at::kLong), {8, 8}), ConfigError,
                         "expected floating point");

  ViewPolicy policy;
  policy.smallest_area = 0;
  CHECK_THROWS_WITH_TEXT(augment::draw_shared_view(policy, {8, 8}, Rng(1)), ConfigError,
                         "crop areas 0 < smallest <= largest <= 1, found 0 and 1");
  policy = {};
  policy.widest = 0.5;
  CHECK_THROWS_WITH_TEXT(augment::draw_shared_view(policy, {8, 8}, Rng(1)), ConfigError,
                         "0 < narrowest <= widest, found 0.75 and 0.5");
  policy = {};
  policy.roll_from = 1;
  CHECK_THROWS_WITH_TEXT(augment::draw_shared_view(policy, {8, 8}, Rng(1)), ConfigError,
                         "rolls from .. to in order, found 1 .. 0");
  policy.roll_to = 2;
  CHECK_THROWS_WITH_TEXT(augment::draw_views(policy, 2, {8, 8}, Rng(1)), ConfigError,
                         "only a view shared by the batch is rolled");

  Mix mix = augment::draw_mix(Mix::Kind::CutMix, 2, {8, 8}, Rng(1));
  mix.box = {4, 4, 5, 1};
  CHECK_THROWS_WITH_TEXT(augment::apply_mix(mix, x), ConfigError, "a box inside of [8, 8]");
  Rng rng(1);
  CHECK_THROWS_WITH_TEXT(augment::draw_symmetric_beta(1.5, rng), ConfigError, "found 1.5");
}
