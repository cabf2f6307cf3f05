#include <torch/csrc/autograd/autograd.h>

#include "lib/kernels/cuda/norm_relu_pool.h"
#include "tests/kernels/cuda/host.h"

using namespace retort;
using namespace retort::testing;
using namespace retort::kernels::cuda;

namespace {

constexpr double kTolerance = 2e-6;

struct Inputs {
  Tensor x, weight, bias;
};

Inputs make_inputs(at::IntArrayRef shape) {
  return {normal("x", shape) * 2 + 3, normal("weight", {shape[1]}),
          normal("bias", {shape[1]}) * 0.5};
}

struct Result {
  Tensor y, mean, rstd;
};

NormReluPool task_of(const Inputs& inputs, const Result& result) {
  const Tensor& x = inputs.x;
  return {{x.size(0), x.size(1), x.size(2), x.size(3)},
          in(x),
          in(inputs.weight),
          in(inputs.bias),
          1e-5F,
          out(result.mean),
          out(result.rstd),
          out(result.y)};
}

Result forward(const Inputs& inputs) {
  const Tensor& x = inputs.x;
  const Result result{unwritten({x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2}),
                      unwritten({x.size(0), x.size(1)}), unwritten({x.size(0), x.size(1)})};
  run(kHost, task_of(inputs, result));
  return result;
}

struct Wanted {
  bool x = true;
  bool parameters = true;
};

Inputs gradient(const Inputs& inputs, const Result& result, const Tensor& gy, Wanted wanted = {}) {
  const Inputs g{unwritten_like(inputs.x), unwritten_like(inputs.weight),
                 unwritten_like(inputs.bias)};
  const Tensor bias_sums = unwritten_like(result.mean);
  const Tensor scale_sums = unwritten_like(result.mean);
  run(kHost, NormReluPoolGradient{task_of(inputs, result), in(gy), out(bias_sums), out(scale_sums),
                                  wanted.x ? out(g.x) : nullptr,
                                  wanted.parameters ? out(g.weight) : nullptr,
                                  wanted.parameters ? out(g.bias) : nullptr});
  return g;
}

Tensors reference_gradients(const Inputs& inputs, const Tensor& gy) {
  const auto wide = [](const Tensor& t) { return leaf(t.to(at::kDouble)); };
  const Inputs d{wide(inputs.x), wide(inputs.weight), wide(inputs.bias)};
  return torch::autograd::grad({norm_relu_pool_reference(d.x, d.weight, d.bias)},
                               {d.x, d.weight, d.bias}, {gy.to(at::kDouble)});
}

Tensor reference(const Inputs& inputs) {
  return norm_relu_pool_reference(inputs.x.to(at::kDouble), inputs.weight.to(at::kDouble),
                                  inputs.bias.to(at::kDouble));
}

}  // namespace

TEST_CASE("the device's norm, relu and pooling equal the reference over odd and even shapes",
          "[kernels][device]") {
  const std::vector<std::vector<std::int64_t>> shapes = {
      {1, 1, 2, 2},  {2, 3, 5, 7},   {3, 16, 4, 4},   {1, 128, 8, 8},
      {2, 17, 6, 9}, {2, 200, 3, 2}, {2, 32, 32, 32}, {5, 40, 14, 13}};
  for (const auto& shape : shapes) {
    INFO(at::IntArrayRef(shape));
    const Inputs inputs = make_inputs(shape);
    const Result result = forward(inputs);
    CHECK_CLOSE(result.y, reference(inputs), kTolerance);
    const Tensor gy = normal("gy", result.y.sizes());
    const Tensors expected = reference_gradients(inputs, gy);
    const Inputs actual = gradient(inputs, result, gy);
    CHECK_CLOSE(actual.x, expected[0], 5 * kTolerance);
    CHECK_CLOSE(actual.weight, expected[1], 5 * kTolerance);
    CHECK_CLOSE(actual.bias, expected[2], 5 * kTolerance);
  }
}

TEST_CASE("a mean large against the deviation does not cost the device's norm its digits",
          "[kernels][device]") {
  const Inputs inputs{normal("x", {2, 16, 16, 16}) + 100, at::ones({16}), at::ones({16})};
  CHECK_CLOSE(forward(inputs).y, reference(inputs), 2e-5);
}

TEST_CASE("the device's norm computes only the gradients asked for", "[kernels][device]") {
  const Inputs inputs = make_inputs({2, 5, 6, 5});
  const Result result = forward(inputs);
  const Tensor gy = normal("gy", result.y.sizes());
  const Inputs both = gradient(inputs, result, gy);
  const Inputs only_x = gradient(inputs, result, gy, {.parameters = false});
  CHECK(at::equal(only_x.x, both.x));
  CHECK(only_x.weight.isnan().all().item<bool>());
  const Inputs only_parameters = gradient(inputs, result, gy, {.x = false});
  CHECK(at::equal(only_parameters.weight, both.weight));
  CHECK(at::equal(only_parameters.bias, both.bias));
  CHECK(only_parameters.x.isnan().all().item<bool>());
}
