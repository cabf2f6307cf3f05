#include "lib/kernels/norm_act_pool.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/parallel.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::testing;
using kernels::norm_relu_pool;
using kernels::norm_relu_pool_reference;

namespace {

constexpr double kTolerance = 2e-6;

struct Inputs {
  Tensor x, weight, bias;
};

Inputs make_inputs(at::IntArrayRef shape) {
  return {leaf(normal("x", shape) * 2 + 3), leaf(normal("weight", {shape[1]})),
          leaf(normal("bias", {shape[1]}) * 0.5)};
}

Tensors reference_gradients(const Inputs& in, const Tensor& gy) {
  const Inputs d{leaf(in.x.to(at::kDouble)), leaf(in.weight.to(at::kDouble)),
                 leaf(in.bias.to(at::kDouble))};
  return torch::autograd::grad({norm_relu_pool_reference(d.x, d.weight, d.bias)},
                               {d.x, d.weight, d.bias}, {gy.to(at::kDouble)});
}

}  // namespace

TEST_CASE("fused norm, relu and pooling equal the reference over odd and even shapes",
          "[kernels][norm]") {
  const std::vector<std::vector<std::int64_t>> shapes = {
      {1, 1, 2, 2},  {2, 3, 5, 7},   {3, 16, 4, 4},    {1, 128, 8, 8},
      {2, 17, 6, 9}, {2, 200, 3, 2}, {1, 128, 32, 32}, {5, 40, 14, 13}};
  for_each_instruction_set([&] {
    for (const auto& shape : shapes) {
      INFO(at::IntArrayRef(shape));
      const Inputs in = make_inputs(shape);
      const Tensor y = norm_relu_pool(in.x, in.weight, in.bias);
      CHECK_CLOSE(y,
                  norm_relu_pool_reference(in.x.to(at::kDouble), in.weight.to(at::kDouble),
                                           in.bias.to(at::kDouble)),
                  kTolerance);
      const Tensor gy = normal("gy", y.sizes());
      const auto expected = reference_gradients(in, gy);
      const auto actual = torch::autograd::grad({y}, {in.x, in.weight, in.bias}, {gy});
      for (std::size_t i = 0; i < 3; ++i) {
        INFO("gradient " << i);
        CHECK_CLOSE(actual[i], expected[i], 5 * kTolerance);
      }
    }
    CHECK(kernels::counters().norm_pool_fast == std::int64_t(shapes.size()));
    CHECK(kernels::counters().norm_pool_fallback == 0);
  });
}

TEST_CASE("a mean large against the deviation does not cost the fused norm its digits",
          "[kernels][norm]") {
  for_each_instruction_set([] {
    const Tensor x = normal("x", {2, 16, 16, 16}) + 100;
    const Tensor one = at::ones({16});
    CHECK_CLOSE(
        norm_relu_pool(x, one, one),
        norm_relu_pool_reference(x.to(at::kDouble), one.to(at::kDouble), one.to(at::kDouble)),
        2e-5);
  });
}

TEST_CASE("the reference's gradients agree with finite differences, twice", "[kernels][norm]") {
  const Tensor x = normal("x", {2, 3, 4, 4}).to(at::kDouble);
  const Tensor w = normal("w", {3}).to(at::kDouble);
  const Tensor b = normal("b", {3}).to(at::kDouble);
  const auto of_x = [&](const Tensor& v) { return norm_relu_pool_reference(v, w, b); };
  const auto of_w = [&](const Tensor& v) { return norm_relu_pool_reference(x, v, b); };
  const auto of_b = [&](const Tensor& v) { return norm_relu_pool_reference(x, w, v); };
  CHECK(direction_error(of_x, x) < 1e-6);
  CHECK(direction_error(of_w, w) < 1e-6);
  CHECK(direction_error(of_b, b) < 1e-6);
  CHECK(second_direction_error(of_x, x) < 1e-6);
}

TEST_CASE("the fused norm accepts strides, summed cotangents and inputs without gradient",
          "[kernels][norm]") {
  for_each_instruction_set([] {
    const Inputs in = make_inputs({4, 16, 6, 6});
    const Tensor turned = leaf(in.x.detach().permute({0, 1, 3, 2}));
    const Tensor strided = turned.permute({0, 1, 3, 2});
    const Tensor y = norm_relu_pool(strided, in.weight, in.bias);
    const Tensor gy = normal("gy", y.sizes());
    const auto expected = reference_gradients(in, gy);
    const auto actual = torch::autograd::grad({y}, {turned}, {gy});
    CHECK_CLOSE(actual[0], expected[0].permute({0, 1, 3, 2}), 1e-5);
    // A cotangent that is one number expanded, as sum() sends it.
    const Tensor ones = at::ones_like(gy);
    CHECK_CLOSE(torch::autograd::grad({norm_relu_pool(in.x, in.weight, in.bias).sum()}, {in.x})[0],
                reference_gradients(in, ones)[0], 1e-5);

    const Tensor only_bias = norm_relu_pool(in.x.detach(), in.weight.detach(), in.bias);
    CHECK_CLOSE(torch::autograd::grad({only_bias}, {in.bias}, {gy})[0], expected[2], 1e-5);
    const Tensor only_x = norm_relu_pool(in.x, in.weight.detach(), in.bias.detach());
    CHECK_CLOSE(torch::autograd::grad({only_x}, {in.x}, {gy})[0], expected[0], 1e-5);
    const Tensor none = norm_relu_pool(in.x.detach(), in.weight.detach(), in.bias.detach());
    CHECK(!none.requires_grad());
  });
}

TEST_CASE("second order through the fused norm is the reference's", "[kernels][norm]") {
  for_each_instruction_set([] {
    const Inputs in = make_inputs({2, 16, 6, 6});
    const auto second = [&](bool fast) {
      const Tensor y = fast ? norm_relu_pool(in.x, in.weight, in.bias)
                            : norm_relu_pool_reference(in.x, in.weight, in.bias);
      const auto first =
          torch::autograd::grad({y.square().sum()}, {in.x, in.weight}, {}, true, true);
      return torch::autograd::grad(
          {(first[0] * normal("v", {2, 16, 6, 6})).sum() + first[1].square().sum()},
          {in.x, in.weight, in.bias});
    };
    const auto fast = second(true);
    const auto reference = second(false);
    for (std::size_t i = 0; i < 3; ++i) CHECK_CLOSE(fast[i], reference[i], 1e-4);
    CHECK(kernels::counters().second_order == 1);
  });
}

TEST_CASE("what the fused norm does not serve goes to the reference and is counted",
          "[kernels][norm]") {
  kernels::reset_counters();
  const Inputs in = make_inputs({2, 16, 6, 6});
  const Tensor expected = norm_relu_pool_reference(in.x, in.weight, in.bias);
  kernels::set_policy(kernels::Policy::Reference);
  CHECK(!kernels::serves_norm_relu_pool(in.x));
  CHECK(at::equal(norm_relu_pool(in.x, in.weight, in.bias), expected));
  kernels::set_policy(kernels::Policy::Fast);
  const Tensor d =
      norm_relu_pool(in.x.to(at::kDouble), in.weight.to(at::kDouble), in.bias.to(at::kDouble));
  CHECK_CLOSE(d, expected, 1e-6);
  CHECK(!kernels::serves_norm_relu_pool(at::zeros({0, 16, 6, 6})));
  CHECK(kernels::counters().norm_pool_fallback == 2);
  CHECK(kernels::counters().norm_pool_fast == 0);
}

TEST_CASE("the fused norm's bits do not depend on which thread runs it", "[kernels][norm]") {
  const Inputs in = make_inputs({8, 32, 8, 8});
  const Tensor gy = normal("gy", {8, 32, 4, 4});
  const auto run = [&] {
    const Tensor y = norm_relu_pool(in.x, in.weight, in.bias);
    Tensors result = torch::autograd::grad({y}, {in.x, in.weight, in.bias}, {gy});
    result.push_back(y.detach());
    return result;
  };
  const Tensors here = run();
  std::vector<Tensors> elsewhere(3);
  parallel_tasks(3, [&](std::int64_t task) { elsewhere[std::size_t(task)] = run(); });
  for (const Tensors& other : elsewhere) {
    for (std::size_t i = 0; i < here.size(); ++i) CHECK(at::equal(here[i], other[i]));
  }
  // On two threads the images are split; what is summed over images may round differently.
  set_thread_count(2);
  const Tensors split = run();
  set_thread_count(1);
  CHECK(at::equal(here[0], split[0]));
  CHECK(at::equal(here[3], split[3]));
  CHECK_CLOSE(split[1], here[1], 1e-6);
}
