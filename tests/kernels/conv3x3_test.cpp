#include "lib/kernels/conv3x3.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/kernels/uncounted.h"
#include "tests/kernels/kernel_test.h"

using namespace retort;
using namespace retort::testing;
using kernels::conv3x3;
using kernels::conv3x3_reference;

namespace {

constexpr double kTolerance = 1e-5;

struct Case {
  std::vector<std::int64_t> x;  // [N,I,H,W]
  std::int64_t outputs;
  std::int64_t padding = 1;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {{2, 16, 4, 4}, 16},  {{3, 32, 7, 7}, 16},     {{2, 30, 6, 8}, 40},   {{1, 24, 13, 8}, 45},
      {{13, 16, 8, 8}, 32}, {{2, 128, 16, 16}, 128}, {{2, 12, 12, 12}, 13}, {{3, 1, 8, 8}, 32, 3},
      {{2, 3, 9, 5}, 20},   {{2, 3, 32, 32}, 128},   {{2, 4, 5, 6}, 16, 0}, {{1, 2, 3, 3}, 9, 2},
  };
  return all;
}

struct Inputs {
  Tensor x, weight, bias;
};

Inputs make_inputs(const Case& c) {
  return {leaf(normal("x", c.x)), leaf(normal("weight", {c.outputs, c.x[1], 3, 3}) * 0.1),
          leaf(normal("bias", {c.outputs}))};
}

Inputs in_double(const Inputs& in) {
  return {leaf(in.x.to(at::kDouble)), leaf(in.weight.to(at::kDouble)),
          leaf(in.bias.to(at::kDouble))};
}

Tensors reference_gradients(const Inputs& in, const Tensor& gy, std::int64_t padding) {
  const Inputs d = in_double(in);
  return torch::autograd::grad({conv3x3_reference(d.x, d.weight, d.bias, padding)},
                               {d.x, d.weight, d.bias}, {gy.to(at::kDouble)});
}

}  // namespace

TEST_CASE("the 3x3 convolution and its gradients equal the float64 reference over odd shapes",
          "[kernels][conv]") {
  for_each_instruction_set([] {
    for (const Case& c : cases()) {
      INFO(at::IntArrayRef(c.x) << " to " << c.outputs << " channels, padding " << c.padding);
      const Inputs in = make_inputs(c);
      const Inputs d = in_double(in);
      const Tensor y = conv3x3(in.x, in.weight, in.bias, c.padding);
      CHECK_CLOSE(y, conv3x3_reference(d.x, d.weight, d.bias, c.padding), kTolerance);
      CHECK_CLOSE(conv3x3(in.x, in.weight, {}, c.padding),
                  conv3x3_reference(d.x, d.weight, {}, c.padding), kTolerance);
      const Tensor gy = normal("gy", y.sizes());
      const Tensors expected = reference_gradients(in, gy, c.padding);
      const Tensors actual = torch::autograd::grad({y}, {in.x, in.weight, in.bias}, {gy});
      for (std::size_t i = 0; i < 3; ++i) {
        INFO("gradient " << i);
        CHECK_CLOSE(actual[i], expected[i], kTolerance);
      }
    }
    CHECK(kernels::counters().conv_fast == 2 * std::int64_t(cases().size()));
    CHECK(kernels::counters().conv_fallback == 0);
  });
}

TEST_CASE("the 3x3 convolution accepts strides, summed cotangents and inputs without gradient",
          "[kernels][conv]") {
  for_each_instruction_set([] {
    for (const Case& c : {Case{{3, 16, 8, 8}, 32}, Case{{3, 3, 8, 8}, 32}}) {
      const Inputs in = make_inputs(c);
      const Tensor y = conv3x3(in.x, in.weight, in.bias);
      const Tensor gy = normal("gy", y.sizes());
      const Tensors expected = torch::autograd::grad({y}, {in.x, in.weight, in.bias}, {gy});

      const Tensor last = leaf(in.x.detach().contiguous(at::MemoryFormat::ChannelsLast));
      const Tensor turned = leaf(in.weight.detach().permute({0, 1, 3, 2}).contiguous());
      const Tensor strided = conv3x3(last, turned.permute({0, 1, 3, 2}), in.bias);
      CHECK(at::equal(strided, y));
      const Tensors of_strided = torch::autograd::grad(
          {strided}, {last, turned}, {gy.contiguous(at::MemoryFormat::ChannelsLast)});
      CHECK(at::equal(of_strided[0], expected[0]));
      CHECK(at::equal(of_strided[1].permute({0, 1, 3, 2}), expected[1]));

      const Tensor of_sum =
          torch::autograd::grad({conv3x3(in.x, in.weight, in.bias).sum()}, {in.x})[0];
      CHECK_CLOSE(of_sum, reference_gradients(in, at::ones_like(gy), 1)[0], kTolerance);

      const Tensor x = in.x.detach();
      const Tensor w = in.weight.detach();
      const Tensor b = in.bias.detach();
      CHECK(at::equal(torch::autograd::grad({conv3x3(in.x, w, b)}, {in.x}, {gy})[0], expected[0]));
      CHECK(at::equal(torch::autograd::grad({conv3x3(x, in.weight, b)}, {in.weight}, {gy})[0],
                      expected[1]));
      CHECK(at::equal(torch::autograd::grad({conv3x3(x, w, in.bias)}, {in.bias}, {gy})[0],
                      expected[2]));
      CHECK(!conv3x3(x, w, b).requires_grad());
    }
  });
}

TEST_CASE("second and third order of the 3x3 convolution run on the kernels and equal LibTorch's",
          "[kernels][conv][second-order]") {
  for (const Case& c : {Case{{2, 16, 8, 7}, 16}, Case{{2, 30, 7, 9}, 45}, Case{{3, 3, 9, 8}, 32},
                        Case{{2, 1, 8, 8}, 16, 3}}) {
    INFO(at::IntArrayRef(c.x) << " to " << c.outputs << " channels, padding " << c.padding);
    const Inputs in = make_inputs(c);
    const auto orders = [&](const auto& convolution, const Inputs& of) {
      const Tensor y = convolution(of.x, of.weight, of.bias, c.padding);
      const Tensors first =
          torch::autograd::grad({at::tanh(y).sum()}, {of.x, of.weight}, {}, true, true);
      const Tensors second =
          torch::autograd::grad({first[0].square().sum() + first[1].square().sum()},
                                {of.x, of.weight, of.bias}, {}, true, true);
      Tensors all = torch::autograd::grad({second[0].square().sum() + second[1].square().sum()},
                                          {of.x, of.weight, of.bias});
      all.insert(all.end(), second.begin(), second.end());
      return all;
    };
    const Tensors reference = orders(conv3x3_reference, in_double(in));
    for_each_instruction_set([&] {
      const Tensors fast = orders(conv3x3, in);
      for (std::size_t i = 0; i < fast.size(); ++i) {
        INFO("gradient " << i);
        CHECK_CLOSE(fast[i], reference[i], kTolerance);
      }
      CHECK(kernels::counters().conv_fast == 1);
      CHECK(kernels::counters().second_order == 0);
    });
  }
}

TEST_CASE("what the 3x3 convolution does not serve goes to LibTorch's and is counted",
          "[kernels][conv]") {
  kernels::reset_counters();
  const Inputs in = make_inputs({{2, 16, 8, 8}, 16});
  const Tensor expected = conv3x3_reference(in.x, in.weight, in.bias);
  kernels::set_policy(kernels::Policy::Reference);
  CHECK(at::equal(conv3x3(in.x, in.weight, in.bias), expected));
  kernels::set_policy(kernels::Policy::Fast);
  const Inputs d = in_double(in);
  CHECK_CLOSE(conv3x3(d.x, d.weight, d.bias), expected, kTolerance);
  CHECK_CLOSE(conv3x3(in.x, in.weight, in.bias, 0), conv3x3_reference(d.x, d.weight, d.bias, 0),
              kTolerance);
  const Tensor five = normal("five", {16, 16, 5, 5});
  CHECK(!kernels::serves_conv3x3(in.x, five));
  // One tile of 4x4 for a single pixel, 16 channels for 6: more than twice the work.
  CHECK(!kernels::serves_conv3x3(at::zeros({1, 16, 1, 1}), in.weight));
  CHECK(!kernels::serves_conv3x3(at::zeros({1, 6, 8, 8}), at::zeros({6, 6, 3, 3})));
  {
    const kernels::Uncounted trial;
    kernels::count(&kernels::Counters::conv_fallback);
    CHECK(kernels::counters().conv_fallback == 4);
  }
  CHECK(kernels::counters().conv_fallback == 3);
  CHECK(kernels::counters().conv_fast == 0);
}

TEST_CASE("the 3x3 convolution's bits do not depend on which thread runs it", "[kernels][conv]") {
  for (const Case& c :
       {Case{{9, 16, 8, 8}, 32}, Case{{25, 16, 8, 8}, 32}, Case{{25, 3, 9, 8}, 32}}) {
    INFO(at::IntArrayRef(c.x));
    const Inputs in = make_inputs(c);
    const auto run = [&] {
      const Tensor y = conv3x3(in.x, in.weight, in.bias);
      Tensors result = torch::autograd::grad({y.square().sum()}, {in.x, in.weight});
      result.push_back(y.detach());
      return result;
    };
    const Tensors here = run();
    check_same_bits_in_tasks(run, here);
    for (const int threads : {2, 3}) {
      INFO(threads << " threads");
      const WithThreads many(threads);
      const Tensors split = run();
      CHECK(at::equal(split[0], here[0]));
      CHECK(at::equal(split[2], here[2]));
      CHECK_CLOSE(split[1], here[1], 5e-6);
    }
  }
}
