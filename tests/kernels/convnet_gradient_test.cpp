#include "lib/kernels/convnet_gradient.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/parallel.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::testing;
using kernels::convnet_loss_gradients;
using kernels::convnet_loss_gradients_reference;
using kernels::ConvNetShape;

namespace {

struct Case {
  std::vector<std::int64_t> image;  // [N,C,H,W]
  std::int64_t width;
  std::int64_t classes;
  ConvNetShape shape;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {{5, 1, 12, 12}, 32, 3, {2, 3}},    // gray, padded to 16x16
      {{3, 3, 16, 16}, 16, 10, {3, 1}},   // colour
      {{2, 3, 9, 14}, 20, 4, {2, 1}},     // odd sides, channels that need padding
      {{2, 2, 7, 5}, 5, 2, {1, 0}},       // no padding at all
      {{14, 4, 16, 16}, 48, 5, {3, 1}},   // more images than one group
      {{2, 20, 6, 6}, 32, 3, {2, 1}},     // many input channels: no direct first block
      {{2, 1, 28, 28}, 128, 10, {3, 3}},  // production
      {{3, 3, 32, 32}, 128, 10, {3, 1}},
  };
  return all;
}

Tensors make_parameters(const Case& c) {
  Tensors parameters;
  std::int64_t in = c.image[1];
  std::int64_t height = c.image[2] + 2 * c.shape.first_padding - 2;
  std::int64_t width = c.image[3] + 2 * c.shape.first_padding - 2;
  for (std::int64_t b = 0; b < c.shape.depth; ++b) {
    const auto name = [&](const char* part) { return part + std::to_string(b); };
    parameters.push_back(normal(name("w"), {c.width, in, 3, 3}) / std::sqrt(9.0 * double(in)));
    parameters.push_back(normal(name("b"), {c.width}));
    parameters.push_back(normal(name("gamma"), {c.width}) * 0.3 + 1);
    parameters.push_back(normal(name("beta"), {c.width}) * 0.3);
    in = c.width;
    height /= 2;
    width /= 2;
  }
  const std::int64_t features = in * height * width;
  parameters.push_back(normal("classifier", {c.classes, features}) / std::sqrt(double(features)));
  parameters.push_back(normal("classifier bias", {c.classes}));
  return parameters;
}

Tensors in_double(const Tensors& tensors) {
  Tensors result;
  for (const Tensor& t : tensors) result.push_back(t.detach().to(at::kDouble));
  return result;
}

Tensors directions(const Tensors& parameters) {
  Tensors result;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    result.push_back(normal("v" + std::to_string(i), parameters[i].sizes()) * 0.1);
  }
  return result;
}

Tensor make_targets(const Case& c) {
  return normal("targets", {c.image[0], c.classes}).softmax(1) * 1.5;  // rows need not sum to one
}

// Relative to the whole tensor: an activation of zero to the last digits may fall on either side of
// the ReLU's kink.
double distance(const Tensor& actual, const Tensor& expected) {
  const Tensor e = expected.to(at::kDouble);
  return ((actual.to(at::kDouble) - e).norm() / e.norm()).item<double>();
}

}  // namespace

TEST_CASE("fused loss gradients and their own gradient equal the float64 reference",
          "[kernels][convnet][second-order]") {
  for_each_instruction_set([] {
    for (const Case& c : cases()) {
      INFO(at::IntArrayRef(c.image) << " width " << c.width << " depth " << c.shape.depth);
      const Tensors p = make_parameters(c);
      const Tensors v = directions(p);
      const Tensor x = leaf(normal("x", c.image));
      const Tensor t = leaf(make_targets(c));
      const Tensors found = convnet_loss_gradients(x, t, p, c.shape);
      const Tensor xd = leaf(x.to(at::kDouble));
      const Tensor td = leaf(t.to(at::kDouble));
      const Tensors wanted = convnet_loss_gradients_reference(xd, td, in_double(p), c.shape);
      REQUIRE(found.size() == wanted.size());
      for (std::size_t i = 0; i < found.size(); ++i) {
        INFO("gradient " << i);
        REQUIRE(found[i].sizes() == wanted[i].sizes());
        if (i % 4 == 1 && i < found.size() - 2) {  // a convolution's bias: zero
          CHECK(found[i].abs().max().item<float>() == 0);
        } else {
          CHECK(distance(found[i], wanted[i]) < 1e-5);
        }
      }
      const Tensors actual = torch::autograd::grad(found, {x, t}, v);
      const Tensors expected = torch::autograd::grad(wanted, {xd, td}, in_double(v));
      CHECK(distance(actual[0], expected[0]) < 1e-5);
      CHECK(distance(actual[1], expected[1]) < 1e-5);
    }
    CHECK(kernels::counters().gradient_fast == std::int64_t(cases().size()));
    CHECK(kernels::counters().gradient_fallback == 0);
    CHECK(kernels::counters().second_order == 0);
  });
}

TEST_CASE(
    "where a norm of four values amplifies rounding, it does so in LibTorch's float32 as well",
    "[kernels][convnet][second-order]") {
  const Case c{{14, 4, 8, 8}, 48, 5, {3, 1}};
  const Tensors p = make_parameters(c);
  const Tensors v = directions(p);
  const Tensor t = make_targets(c);
  const auto gradient = [&](const auto& function, at::ScalarType dtype) {
    const auto cast = [&](const Tensors& tensors) {
      return dtype == at::kDouble ? in_double(tensors) : tensors;
    };
    const Tensor x = leaf(normal("x", c.image).to(dtype));
    return torch::autograd::grad(function(x, t.to(dtype), cast(p), c.shape), {x}, cast(v))[0];
  };
  const Tensor exact = gradient(convnet_loss_gradients_reference, at::kDouble);
  const double plain = distance(gradient(convnet_loss_gradients_reference, at::kFloat), exact);
  for_each_instruction_set([&] {
    CHECK(distance(gradient(convnet_loss_gradients, at::kFloat), exact) < 4 * plain);
    CHECK(kernels::counters().gradient_fast == 1);
  });
}

TEST_CASE("the reference of loss gradients agrees with finite differences to second order",
          "[kernels][convnet][second-order]") {
  const Case c{{2, 1, 6, 6}, 4, 3, {2, 2}};
  const Tensors p = in_double(make_parameters(c));
  const Tensor t = make_targets(c).to(at::kDouble);
  const Tensor x = normal("x", c.image).to(at::kDouble);
  const auto joined = [](const Tensors& tensors) {
    Tensors flat;
    for (const Tensor& g : tensors) flat.push_back(g.reshape(-1));
    return at::cat(flat);
  };
  const auto of_images = [&](const Tensor& in) {
    return joined(convnet_loss_gradients_reference(in, t, p, c.shape));
  };
  CHECK(direction_error(of_images, x) < 1e-6);
  CHECK(second_direction_error(of_images, x) < 1e-6);
  CHECK(direction_error(
            [&](const Tensor& in) {
              return joined(convnet_loss_gradients_reference(x, in, p, c.shape));
            },
            t) < 1e-6);
}

TEST_CASE("loss gradients do not depend on the number of threads but by rounding",
          "[kernels][convnet][second-order]") {
  const Case c{{7, 3, 16, 16}, 32, 4, {3, 1}};
  const Tensors p = make_parameters(c);
  const auto run = [&] {
    const Tensor x = leaf(normal("x", c.image));
    const Tensors found = convnet_loss_gradients(x, make_targets(c), p, c.shape);
    return torch::autograd::grad(found, {x}, directions(p))[0];
  };
  const Tensor here = run();
  Tensor there;
  parallel_tasks(1, [&](std::int64_t) { there = run(); });
  CHECK(at::equal(here, run()));
  CHECK(distance(here, there) < 1e-6);
}

TEST_CASE("loss gradients fall back where a parameter needs a gradient or a norm is missing",
          "[kernels][convnet][second-order]") {
  kernels::reset_counters();
  const Case c{{2, 1, 6, 6}, 4, 3, {2, 2}};
  Tensors p = make_parameters(c);
  const Tensor x = leaf(normal("x", c.image));
  p[0].requires_grad_();
  const Tensors found = convnet_loss_gradients(x, make_targets(c), p, c.shape);
  CHECK(kernels::counters().gradient_fallback == 1);
  const Tensors again = torch::autograd::grad({found[0].square().sum()}, {x, p[0]}, {},
                                              /*retain_graph=*/true, /*create_graph=*/true);
  CHECK(again[1].requires_grad());
}

TEST_CASE("loss gradients of the fast path can be differentiated twice, by the reference",
          "[kernels][convnet][second-order]") {
  kernels::reset_counters();
  const Case c{{2, 1, 6, 6}, 4, 3, {2, 2}};
  const Tensors p = make_parameters(c);
  const auto second = [&](const Tensor& x, const Tensors& gradients) {
    const Tensor once = torch::autograd::grad({gradients[0].square().sum()}, {x}, {},
                                              /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({once.square().sum()}, {x})[0];
  };
  const Tensor x = leaf(normal("x", c.image));
  const Tensor xd = leaf(x.to(at::kDouble));
  const Tensor t = make_targets(c);
  const Tensor found = second(x, convnet_loss_gradients(x, t, p, c.shape));
  const Tensor wanted =
      second(xd, convnet_loss_gradients_reference(xd, t.to(at::kDouble), in_double(p), c.shape));
  CHECK(kernels::counters().second_order == 1);
  CHECK(distance(found, wanted) < 1e-4);
}
