#include "lib/augment/augment.h"

#include <cmath>
#include <numbers>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"

using namespace retort;
using augment::Draw;
using augment::Operation;
using augment::Sharing;
using augment::Strategy;

namespace {

const std::string kAll = "color_crop_cutout_flip_scale_rotate";

Tensor images(std::int64_t n, std::int64_t c = 3, std::int64_t h = 8, std::int64_t w = 8) {
  return Rng(5).child("images").normal_tensor({n, c, h, w});
}

bool same(const Draw& a, const Draw& b) {
  return a.sequence == b.sequence && a.brightness == b.brightness && a.saturation == b.saturation &&
         a.contrast == b.contrast && a.shift_row == b.shift_row && a.shift_col == b.shift_col &&
         a.center_row == b.center_row && a.center_col == b.center_col && a.flip == b.flip &&
         a.scale_x == b.scale_x && a.scale_y == b.scale_y && a.angle == b.angle;
}

/// The same parameters, one copy per sample: takes the other code path.
Draw per_sample(const Draw& shared, std::size_t n) {
  Draw out = shared;
  for (auto* v : {&out.brightness, &out.saturation, &out.contrast, &out.flip, &out.scale_x,
                  &out.scale_y, &out.angle}) {
    if (!v->empty()) v->assign(n, v->front());
  }
  for (auto* v : {&out.shift_row, &out.shift_col, &out.center_row, &out.center_col}) {
    if (!v->empty()) v->assign(n, v->front());
  }
  return out;
}

Draw identity(Operation op) {
  Draw d;
  d.sequence = {op};
  d.brightness = d.saturation = d.contrast = {0.5};
  d.shift_row = d.shift_col = {0};
  d.flip = {0.5};
  d.scale_x = d.scale_y = {1.0};
  d.angle = {0.0};
  return d;
}

}  // namespace

TEST_CASE("identity parameters leave the images alone", "[augment]") {
  const Tensor x = images(3, 3, 7, 9);
  for (const bool align : {false, true}) {
    Strategy s = Strategy::parse(kAll);
    s.align_corners = align;
    s.cutout_ratio = 0;  // the one operation without an identity parameter
    for (const Operation op : s.operations) {
      INFO(augment::operation_name(op));
      Draw d = identity(op);
      d.center_row = d.center_col = {2};
      CHECK(at::equal(augment::apply(s, d, x), x));
      CHECK(at::equal(augment::apply(s, per_sample(d, 3), x), x));
    }
  }
}

TEST_CASE("parameters next to the identity change little, in both conventions", "[augment]") {
  // Exactly 1 and 0 are skipped, so this is what shows that the grids sit on the pixel centres.
  const Tensor x = images(2, 3, 7, 9).to(at::kDouble);
  for (const bool align : {false, true}) {
    Strategy s = Strategy::parse("scale_rotate");
    s.align_corners = align;
    Draw d = identity(Operation::Scale);
    d.scale_x = d.scale_y = {1 - 1e-12};
    CHECK_CLOSE(augment::apply(s, d, x), x, 1e-10);
    d = identity(Operation::Rotate);
    d.angle = {1e-12};
    CHECK_CLOSE(augment::apply(s, d, x), x, 1e-10);
  }
}

TEST_CASE("no operations mean no change and no draw", "[augment]") {
  const Tensor x = images(2);
  Rng rng(1);
  CHECK(at::equal(augment::augment_batch(Strategy::parse("none"), x, rng), x));
  CHECK(augment::draw(Strategy{}, Sharing::Siamese, 2, 8, 8, rng).sequence.empty());
  CHECK(rng.position() == 0);
  CHECK(augment::apply(Strategy::parse(kAll), identity(Operation::Crop), images(0)).size(0) == 0);
}

TEST_CASE("a Siamese draw is the same for batches of 256 and of 10", "[augment][siamese]") {
  for (const bool combined : {false, true}) {
    Strategy s = Strategy::parse(kAll);
    s.combined = combined;
    const Tensor real = images(256);
    const Tensor synthetic = real.slice(0, 0, 10).clone();
    for (std::int64_t i = 0; i < 40; ++i) {
      Rng a = Rng(2).child("augment", i);
      Rng b = Rng(2).child("augment", i);
      const Draw of_real = augment::draw(s, Sharing::Siamese, 256, 8, 8, a);
      const Draw of_synthetic = augment::draw(s, Sharing::Siamese, 10, 8, 8, b);
      CHECK(same(of_real, of_synthetic));
      const Tensor y = augment::apply(s, of_real, real);
      CHECK_CLOSE(augment::apply(s, of_synthetic, synthetic), y.slice(0, 0, 10), 1e-6);
    }
  }
}

TEST_CASE("shared parameters and copies of them per sample give the same images", "[augment]") {
  Strategy s = Strategy::parse(kAll);
  s.combined = true;
  for (const bool align : {false, true}) {
    s.align_corners = align;
    for (std::int64_t i = 0; i < 20; ++i) {
      const Tensor x = images(4, 1 + 2 * (i % 2), 9, 12);
      Rng rng = Rng(3).child(i);
      const Draw d = augment::draw(s, Sharing::Siamese, 1, 9, 12, rng);
      CHECK_CLOSE(augment::apply(s, per_sample(d, 4), x), augment::apply(s, d, x), 1e-5);
      const Tensor x64 = x.to(at::kDouble);
      CHECK_CLOSE(augment::apply(s, per_sample(d, 4), x64), augment::apply(s, d, x64), 1e-12);
      CHECK_CLOSE(augment::apply(s, d, x), augment::apply(s, d, x64), 1e-5);
    }
  }
}

TEST_CASE("per-sample parameters reach their own sample", "[augment]") {
  const Tensor x = images(2, 3, 6, 10);
  const Strategy s = Strategy::parse(kAll);
  Draw d;
  d.sequence = {Operation::Crop, Operation::Flip};
  d.shift_row = {2, -1};
  d.shift_col = {-3, 0};
  d.flip = {0.9, 0.1};
  const Tensor y = augment::apply(s, d, x);
  for (std::int64_t n = 0; n < 2; ++n) {
    Draw one;
    one.sequence = d.sequence;
    one.shift_row = {d.shift_row[std::size_t(n)]};
    one.shift_col = {d.shift_col[std::size_t(n)]};
    one.flip = {d.flip[std::size_t(n)]};
    CHECK(at::equal(y.slice(0, n, n + 1), augment::apply(s, one, x.slice(0, n, n + 1))));
  }
}

TEST_CASE("crop moves by whole pixels and fills with zeros", "[augment]") {
  const Tensor x = images(1, 1, 5, 6);
  Draw d;
  d.sequence = {Operation::Crop};
  d.shift_row = {2};
  d.shift_col = {-1};
  const Tensor y = augment::apply(Strategy::parse("crop"), d, x);
  Tensor expected = at::zeros_like(x);
  for (std::int64_t r = 0; r < 5; ++r) {
    for (std::int64_t c = 0; c < 6; ++c) {
      if (r + 2 < 5 && c - 1 >= 0) expected[0][0][r][c] = x[0][0][r + 2][c - 1];
    }
  }
  CHECK(at::equal(y, expected));
  d.shift_row = {100};  // far outside: nothing is left
  CHECK(augment::apply(Strategy::parse("crop"), d, x).abs().max().item<double>() == 0);
}

TEST_CASE("cutout at 32x32 erases 64 to 256 pixels and both happen", "[augment][cutout]") {
  const Strategy s = Strategy::parse("cutout");
  const Tensor ones = at::ones({2000, 1, 32, 32});
  Rng rng(4);
  const Tensor erased = 1024 - augment::augment_batch(s, ones, rng).sum({1, 2, 3});
  CHECK(erased.min().item<double>() == 64);
  CHECK(erased.max().item<double>() == 256);
}

TEST_CASE("cutout erases the square around its centre, even and odd", "[augment][cutout]") {
  struct Case {
    std::int64_t side, center, first, last;  // erased rows first .. last
  };
  // Sides 8, 10 and 9 erase squares of 4, 5 and 5.
  for (const Case& c : {Case{8, 0, 0, 1}, Case{8, 4, 2, 5}, Case{8, 8, 6, 7}, Case{10, 5, 3, 7},
                        Case{9, 0, 0, 2}, Case{9, 4, 2, 6}, Case{9, 8, 6, 8}}) {
    Draw d;
    d.sequence = {Operation::Cutout};
    d.center_row = d.center_col = {c.center};
    const Tensor y = augment::apply(Strategy::parse("cutout"), d, at::ones({1, 1, c.side, c.side}));
    Tensor expected = at::ones({1, 1, c.side, c.side});
    expected.slice(2, c.first, c.last + 1).slice(3, c.first, c.last + 1).zero_();
    INFO("side " << c.side << ", centre " << c.center);
    CHECK(at::equal(y, expected));
  }
}

TEST_CASE("colour follows its formulas", "[augment][color]") {
  const Tensor x = images(2).to(at::kDouble);
  Draw d;
  d.sequence = {Operation::Color};
  d.brightness = {0.9};
  d.saturation = {0.2};
  d.contrast = {0.7};
  Tensor expected = x + 0.4;
  const Tensor gray = expected.mean(1, true);
  expected = gray + 0.4 * (expected - gray);
  const Tensor mean = expected.mean({1, 2, 3}, true);
  expected = mean + 1.2 * (expected - mean);
  CHECK_CLOSE(augment::apply(Strategy::parse("color"), d, x), expected, 1e-14);
}

TEST_CASE("a quarter turn and a scale of one half sample where they should", "[augment][affine]") {
  const Tensor x = images(2, 3, 6, 6).to(at::kDouble);
  Strategy s = Strategy::parse("scale_rotate");
  Draw d;
  d.sequence = {Operation::Rotate};
  d.angle = {std::numbers::pi / 2};
  // Output (row r, column c) reads x_in = -y_out, y_in = x_out.
  for (const bool align : {false, true}) {
    s.align_corners = align;
    CHECK_CLOSE(augment::apply(s, d, x), x.transpose(2, 3).flip(2), 1e-10);
  }
  d = {};
  d.sequence = {Operation::Scale};
  d.scale_x = {2.0};
  d.scale_y = {1.0};
  s.align_corners = false;
  // Twice the reach: the 6 output columns read at -2.5, -0.5, 1.5, 3.5, 5.5, 7.5 of the input's
  // 0..5.
  const Tensor y = augment::apply(s, d, x);
  CHECK_CLOSE(y.select(3, 2), (x.select(3, 1) + x.select(3, 2)) / 2, 1e-10);
  CHECK_CLOSE(y.select(3, 1), x.select(3, 0) / 2, 1e-10);
  CHECK(y.select(3, 0).abs().max().item<double>() < 1e-12);
}

TEST_CASE("a single row or column survives both affine conventions", "[augment][affine]") {
  const Tensor x = images(2, 1, 1, 5).to(at::kDouble);
  for (const bool align : {false, true}) {
    Strategy s = Strategy::parse("scale");
    s.align_corners = align;
    Draw d;
    d.sequence = {Operation::Scale};
    d.scale_x = {1.0};
    d.scale_y = {1.1};
    CHECK_CLOSE(augment::apply(s, d, x), x, 1e-10);
  }
}

TEST_CASE("a strategy survives its text", "[augment][parse]") {
  for (const std::string& text : {kAll, std::string("flip_color"), std::string("none")}) {
    CHECK(Strategy::parse(text).text() == text);
  }
  CHECK(Strategy::parse("").operations.empty());
  CHECK(Strategy::parse("").text() == "none");
}

TEST_CASE("wrong strategies and draws are answered with what is wrong", "[augment][errors]") {
  CHECK_THROWS_WITH_TEXT(Strategy::parse("color_crp"), ConfigError, "unknown augmentation 'crp'");
  CHECK_THROWS_WITH_TEXT(Strategy::parse("color_crp"), ConfigError, "cutout");
  CHECK_THROWS_WITH_TEXT(Strategy::parse("crop_"), ConfigError, "unknown augmentation ''");
  CHECK_THROWS_WITH_TEXT(Strategy::parse("crop_flip_crop"), ConfigError, "found 'crop' again");

  Strategy s = Strategy::parse("crop");
  Rng rng(1);
  const Draw d = augment::draw(s, Sharing::PerSample, 10, 8, 8, rng);
  CHECK_THROWS_WITH_TEXT(augment::apply(s, d, images(256)), ConfigError,
                         "drawn for 10 samples, found a batch of 256");
  CHECK_THROWS_WITH_TEXT(augment::apply(s, d, images(10)[0]), ConfigError,
                         "images to augment: expected shape");
  CHECK_THROWS_WITH_TEXT(augment::apply(s, d, images(10).to(at::kLong)), ConfigError,
                         "expected floating point");
  CHECK_THROWS_WITH_TEXT(augment::draw(s, Sharing::PerSample, 0, 8, 8, rng), ConfigError,
                         "at least one sample, found 0");
  const auto check_range = [&](double Strategy::*field, double value, const std::string& text) {
    Strategy wrong = Strategy::parse("crop");
    wrong.*field = value;
    CHECK_THROWS_WITH_TEXT(augment::draw(wrong, Sharing::Siamese, 1, 8, 8, rng), ConfigError, text);
  };
  check_range(&Strategy::crop_ratio, 0.6, "crop_ratio lies in 0 .. 0.5, found 0.6");
  check_range(&Strategy::cutout_ratio, -0.1, "cutout_ratio lies in 0 .. 1");
  check_range(&Strategy::scale_ratio, 0.5, "scale_ratio lies in 1 ..");
  check_range(&Strategy::rotate_degrees, 200, "rotate_degrees lies in 0 .. 180");
}

TEST_CASE("the number of threads does not change the images", "[augment][affine]") {
  const Strategy s = Strategy::parse("scale_rotate");
  const Tensor x = images(6, 3, 9, 12);
  Rng rng(6);
  for (int i = 0; i < 4; ++i) {
    const Draw d = augment::draw(s, Sharing::Siamese, 6, 9, 12, rng);
    const Tensor one = augment::apply(s, d, x);
    set_thread_count(2);
    const Tensor two = augment::apply(s, d, x);
    set_thread_count(1);
    CHECK(at::equal(one, two));
  }
}

TEST_CASE("a style sets the conventions of its code base", "[augment]") {
  const std::string text = "color_crop_flip_scale";
  const Strategy dsa = Strategy::of(text, "dsa");
  CHECK_FALSE(dsa.align_corners);
  CHECK_FALSE(dsa.flip_first);
  CHECK_FALSE(dsa.combined);
  CHECK(Strategy::of(text, "mtt").align_corners);
  CHECK_FALSE(Strategy::of(text, "mtt").flip_first);
  CHECK(Strategy::of(text, "fyi").align_corners);
  CHECK(Strategy::of(text, "fyi").flip_first);
  CHECK(Strategy::of(text, "idc").combined);
  CHECK_THROWS_WITH_TEXT(Strategy::of(text, "fya"), ConfigError, "did you mean 'fyi'");
}
