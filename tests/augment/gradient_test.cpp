#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using augment::Draw;
using augment::Operation;
using augment::Sharing;
using augment::Strategy;

TEST_CASE("every operation passes the gradient check, shared and per sample",
          "[augment][gradient]") {
  const Tensor x = Rng(21).child("x").normal_tensor({3, 3, 7, 10}).to(at::kDouble);
  for (const std::string op : {"color", "crop", "cutout", "flip", "scale", "rotate"}) {
    for (const bool align : {false, true}) {
      for (const Sharing sharing : {Sharing::Siamese, Sharing::PerSample}) {
        Strategy s = Strategy::parse(op);
        s.align_corners = align;
        Rng rng = Rng(22).child(op);
        Draw d = augment::draw(s, sharing, 3, 7, 10, rng);
        if (op == "crop") d.shift_row[0] = 1;
        if (op == "flip") d.flip[0] = 0.2;
        INFO(op << (sharing == Sharing::Siamese ? ", shared" : ", per sample"));
        CHECK(testing::direction_error([&](const Tensor& t) { return augment::apply(s, d, t); },
                                       x) < 1e-6);
      }
    }
  }
}

TEST_CASE("a combined draw passes the gradient check", "[augment][gradient]") {
  const Tensor x = Rng(23).child("x").normal_tensor({2, 1, 9, 8}).to(at::kDouble);
  Strategy s = Strategy::parse("flip_color_rotate_cutout");
  s.combined = true;
  for (const Sharing sharing : {Sharing::Siamese, Sharing::PerSample}) {
    Rng rng(24);
    const Draw d = augment::draw(s, sharing, 2, 9, 8, rng);
    CHECK(testing::direction_error([&](const Tensor& t) { return augment::apply(s, d, t); }, x) <
          1e-6);
  }
}

TEST_CASE("colour, crop, cutout and flip can be differentiated twice", "[augment][gradient]") {
  const Tensor x = Rng(25).child("x").normal_tensor({2, 3, 6, 6}).to(at::kDouble);
  for (const std::string op : {"color", "crop", "cutout", "flip"}) {
    for (const Sharing sharing : {Sharing::Siamese, Sharing::PerSample}) {
      const Strategy s = Strategy::parse(op);
      Rng rng = Rng(26).child(op);
      const Draw d = augment::draw(s, sharing, 2, 6, 6, rng);
      INFO(op);
      // The square makes the gradient depend on the images.
      const auto squared = [&](const Tensor& t) { return augment::apply(s, d, t).square(); };
      CHECK(testing::second_direction_error(squared, x) < 1e-6);
    }
  }
}

TEST_CASE("the sum of the gradient counts the pixels that survive", "[augment][gradient]") {
  // d sum(cutout(x)) / dx is one where the image is kept.
  const Strategy s = Strategy::parse("cutout");
  Draw d;
  d.sequence = {Operation::Cutout};
  d.center_row = d.center_col = {16};
  const Tensor x = at::zeros({2, 3, 32, 32}).requires_grad_();
  augment::apply(s, d, x).sum().backward();
  CHECK(x.grad().sum().item<double>() == 2 * 3 * (1024 - 256));
}
