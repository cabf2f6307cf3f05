#include <algorithm>
#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/augment/augment.h"
#include "lib/augment/operations.h"
#include "lib/core/str.h"
#include "lib/kernels/cuda/augment.h"
#include "tests/kernels/cuda/host.h"

using namespace retort;
using namespace retort::testing;
using namespace retort::kernels::cuda;
using augment::Draw;
using augment::Operation;
using augment::Sharing;
using augment::Strategy;

namespace {

// Positions of a sample are exact to about 1e-7 of the image's side.
constexpr double kTolerance = 5e-6;

const std::vector<std::vector<std::int64_t>> kShapes = {{1, 1, 8, 8}, {4, 3, 32, 32}, {3, 2, 7, 10},
                                                        {5, 3, 9, 5}, {2, 1, 28, 28}, {2, 3, 1, 6}};

ImageBatch batch_of(const Tensor& x) { return {x.size(0), x.size(1), x.size(2), x.size(3)}; }

/// The parameters of one image as kernels take them.
template <class Parameters>
struct Entries {
  std::vector<Parameters> values;

  Augmentation<Parameters> task(const Tensor& x, const Tensor& y) const {
    return {batch_of(x), in(x), out(y), values.data(), values.size() == 1};
  }
};

template <class Value>
Value entry(const std::vector<Value>& values, std::size_t i) {
  return values[values.size() == 1 ? 0 : i];
}

template <class Make>
auto entries(std::size_t count, const Make& make) {
  Entries<decltype(make(std::size_t{0}))> result;
  for (std::size_t i = 0; i < count; ++i) result.values.push_back(make(i));
  return result;
}

template <class Parameters>
Entries<Parameters> adjoint_of(const Entries<Parameters>& forward) {
  return entries(forward.values.size(), [&](std::size_t i) { return adjoint(forward.values[i]); });
}

struct Outcome {
  Tensor y;   ///< of x
  Tensor gx;  ///< of gy
};

template <class Parameters>
Outcome run_linear(const Entries<Parameters>& forward, const Tensor& x, const Tensor& gy) {
  const Outcome outcome{unwritten_like(x), unwritten_like(x)};
  const auto backward = adjoint_of(forward);
  if constexpr (std::is_same_v<Parameters, ColorParameters>) {
    const Tensor means = unwritten({x.size(0)});
    run(kHost, forward.task(x, outcome.y), out(means));
    run(kHost, backward.task(gy, outcome.gx), out(means));
  } else {
    run(kHost, forward.task(x, outcome.y));
    run(kHost, backward.task(gy, outcome.gx));
  }
  return outcome;
}

Outcome run_resample(const Entries<ResampleParameters>& entries, const Tensor& x,
                     const Tensor& gy) {
  const Outcome outcome{unwritten_like(x), unwritten_like(x)};
  run(kHost, entries.task(x, outcome.y));
  run_gradient(kHost, entries.task(gy, outcome.gx));
  return outcome;
}

/// What the device makes of the one operation of a draw.
Outcome on_device(const Strategy& s, const Draw& d, const Tensor& x, const Tensor& gy) {
  const std::int64_t height = x.size(2);
  const std::int64_t width = x.size(3);
  switch (d.sequence.at(0)) {
    case Operation::Color:
      return run_linear(entries(d.brightness.size(),
                                [&](std::size_t i) {
                                  return ColorParameters{
                                      float((d.brightness[i] - 0.5) * s.brightness),
                                      float(d.saturation[i] * s.saturation),
                                      float(1 + s.contrast * (2 * d.contrast[i] - 1))};
                                }),
                        x, gy);
    case Operation::Crop:
      return run_linear(
          entries(std::max(d.shift_row.size(), d.shift_col.size()),
                  [&](std::size_t i) {
                    return CropParameters{entry(d.shift_row, i), entry(d.shift_col, i)};
                  }),
          x, gy);
    case Operation::Cutout:
      return run_linear(entries(d.center_row.size(),
                                [&](std::size_t i) {
                                  return cutout_around(
                                      d.center_row[i], d.center_col[i],
                                      augment::rounded_share(height, s.cutout_ratio),
                                      augment::rounded_share(width, s.cutout_ratio));
                                }),
                        x, gy);
    case Operation::Flip:
      return run_linear(
          entries(d.flip.size(), [&](std::size_t i) { return FlipParameters{d.flip[i] < 0.5}; }), x,
          gy);
    case Operation::Scale:
      return run_resample(
          entries(d.scale_x.size(),
                  [&](std::size_t i) { return scaling(d.scale_x[i], d.scale_y[i]); }),
          x, gy);
    case Operation::Rotate:
      return run_resample(entries(d.angle.size(),
                                  [&](std::size_t i) {
                                    return rotation(d.angle[i], batch_of(x), s.align_corners);
                                  }),
                          x, gy);
  }
  throw std::logic_error("not an operation");
}

/// The same by lib/augment in float64.
Outcome reference(const Strategy& s, const Draw& d, const Tensor& x, const Tensor& gy) {
  const Tensor images = leaf(x.to(at::kDouble));
  const Tensor y = augment::apply(s, d, images);
  return {y.detach(), torch::autograd::grad({y}, {images}, {gy.to(at::kDouble)})[0]};
}

void check(const Strategy& s, const Draw& d, const Tensor& x) {
  const Tensor gy = normal("gy", x.sizes());
  const Outcome expected = reference(s, d, x, gy);
  const Outcome actual = on_device(s, d, x, gy);
  CHECK_CLOSE(actual.y, expected.y, kTolerance);
  CHECK_CLOSE(actual.gx, expected.gx, kTolerance);
}

void check_draws(const std::string& operation, bool align_corners) {
  Strategy strategy = Strategy::parse(operation);
  strategy.align_corners = align_corners;
  for (const auto& shape : kShapes) {
    for (const Sharing sharing : {Sharing::Siamese, Sharing::PerSample}) {
      for (std::int64_t round = 0; round < 4; ++round) {
        INFO(operation << " " << at::IntArrayRef(shape)
                       << (sharing == Sharing::Siamese ? " shared" : " per sample")
                       << (align_corners ? ", align_corners" : "") << ", draw " << round);
        Rng rng = Rng(5).child(operation, round);
        const Draw draw = augment::draw(strategy, sharing, shape[0], shape[2], shape[3], rng);
        check(strategy, draw, normal("x", shape));
      }
    }
  }
}

}  // namespace

TEST_CASE("the device's augmentations and their gradients equal lib/augment", "[kernels][device]") {
  for (const char* operation : {"color", "crop", "cutout", "flip"}) check_draws(operation, false);
}

TEST_CASE("the device's resampling equals lib/augment in both align_corners conventions",
          "[kernels][device]") {
  for (const bool align_corners : {false, true}) {
    check_draws("scale", align_corners);
    check_draws("rotate", align_corners);
  }
}

TEST_CASE("the device's augmentations equal lib/augment far outside of the papers' ranges",
          "[kernels][device]") {
  const std::vector<std::int64_t> shape{3, 2, 9, 12};
  const Tensor x = normal("x", shape);
  Strategy strategy;
  Draw draw;
  SECTION("zooming in and out by much") {
    for (const double factor : {0.05, 0.3, 3.0, 20.0}) {
      INFO("factor " << factor);
      draw = {};
      draw.sequence = {Operation::Scale};
      draw.scale_x = {factor};
      draw.scale_y = {1.5};
      for (const bool align_corners : {false, true}) {
        strategy.align_corners = align_corners;
        check(strategy, draw, x);
      }
    }
  }
  SECTION("large turns, images of one row") {
    for (const double degrees : {-135.0, -80.0, 45.0, 90.0, 180.0}) {
      INFO("angle " << degrees);
      draw = {};
      draw.sequence = {Operation::Rotate};
      draw.angle = {degrees * M_PI / 180};
      for (const bool align_corners : {false, true}) {
        strategy.align_corners = align_corners;
        check(strategy, draw, x);
        check(strategy, draw, normal("line", {2, 2, 1, 6}));
        check(strategy, draw, normal("column", {2, 2, 6, 1}));
      }
    }
  }
  SECTION("crops that leave nothing") {
    draw.sequence = {Operation::Crop};
    draw.shift_row = {-9, 0, 30};
    draw.shift_col = {2, -12, 0};
    check(strategy, draw, x);
  }
  SECTION("colours without saturation or with the sign turned") {
    strategy.saturation = 4;
    strategy.contrast = 3;
    draw.sequence = {Operation::Color};
    draw.brightness = {0.5, 0.9, 0};
    draw.saturation = {0, 0.9, 0.25};
    draw.contrast = {0, 0.1, 0.5};
    check(strategy, draw, x);
  }
}
