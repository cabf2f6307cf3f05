#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/kernels/convnet_forward.h"
#include "lib/kernels/convnet_mixed.h"
#include "tests/kernels/convnet_cases.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::testing;
using kernels::convnet_features;
using kernels::convnet_features_reference;

namespace {

/// Features, and the gradients of images and parameters for one cotangent.
struct Outcome {
  Tensor features;
  Tensors gradients;
};

template <class Function>
Outcome forward_and_backward(const Function& function, const Tensor& x, const Tensors& parameters,
                             const kernels::ConvNetShape& shape) {
  const Tensor y = function(x, parameters, shape);
  const Tensor gy = normal("gy", y.sizes()).to(y.scalar_type());
  return {y.detach(), torch::autograd::grad({y}, with_input(x, parameters), {gy})};
}

void check_found(const ConvNetCase& c, const Outcome& found, const Outcome& wanted) {
  CHECK_CLOSE(found.features, wanted.features, 1e-5);
  for (std::size_t i = 0; i < wanted.gradients.size(); ++i) {
    INFO("gradient " << i);
    REQUIRE(found.gradients[i].sizes() == wanted.gradients[i].sizes());
    if (i % 4 == 2 && takes_channel_means(c.shape, c.width)) {  // a convolution's bias: zero
      CHECK(found.gradients[i].abs().max().item<float>() == 0);
      CHECK(wanted.gradients[i].abs().max().item<double>() < 1e-10);
    } else {
      CHECK(distance(found.gradients[i], wanted.gradients[i]) < 1e-5);
    }
  }
}

void check_against_float64(const ConvNetCase& c) {
  INFO(c);
  const Tensors parameters = convnet_parameters(c);
  const Tensor x = leaf(normal("x", c.image));
  const Outcome wanted = forward_and_backward(convnet_features_reference, leaf(x.to(at::kDouble)),
                                              in_double(parameters), c.shape);
  for_each_instruction_set([&] {
    const Outcome found = forward_and_backward(convnet_features, x, parameters, c.shape);
    check_found(c, found, wanted);
    const at::NoGradGuard no_grad;
    CHECK(at::equal(convnet_features(x, parameters, c.shape), found.features));
    CHECK(kernels::counters().convnet_fast == 2);
    CHECK(kernels::counters().convnet_fallback == 0);
    CHECK(kernels::counters().second_order == 0);
  });
}

}  // namespace

TEST_CASE("fused ConvNet features and gradients equal the float64 reference",
          "[kernels][convnet]") {
  for (const ConvNetCase& c : convnet_cases()) check_against_float64(c);
}

TEST_CASE("fused ConvNet features and gradients under GroupNorm equal the float64 reference",
          "[kernels][convnet][group-norm]") {
  for (const ConvNetCase& c : convnet_cases()) {
    for (const ConvNetCase& grouped : under_group_norm(c)) check_against_float64(grouped);
  }
}

TEST_CASE("as many groups as channels are InstanceNorm, and fewer are another norm",
          "[kernels][convnet][group-norm]") {
  for_each_instruction_set([] {
    const at::NoGradGuard no_grad;
    const ConvNetCase& c = convnet_cases()[2];
    const Tensors p = convnet_parameters(c);
    const Tensor x = normal("x", c.image);
    const Tensor instance = convnet_features(x, p, c.shape);
    CHECK(at::equal(convnet_features(x, p, with_groups(c, c.width).shape), instance));
    CHECK(distance(convnet_features(x, p, with_groups(c, c.width / 2).shape), instance) > 1e-2);
  });
}

TEST_CASE("under GroupNorm channels without a weight share in the group all the same",
          "[kernels][convnet][group-norm]") {
  const ConvNetCase c = with_groups(convnet_cases()[2], 4);
  Tensors parameters = convnet_parameters(c);
  // One of every group of five, and all of the last.
  for (const std::size_t norm : {2, 6}) {
    const at::NoGradGuard no_grad;
    for (const std::int64_t channel : {0, 7, 12, 15, 16, 17, 18, 19}) {
      parameters[norm][channel].zero_();
    }
  }
  const Tensor x = leaf(normal("x", c.image));
  const Outcome wanted = forward_and_backward(convnet_features_reference, leaf(x.to(at::kDouble)),
                                              in_double(parameters), c.shape);
  for_each_instruction_set([&] {
    check_found(c, forward_and_backward(convnet_features, x, parameters, c.shape), wanted);
  });
}

TEST_CASE("means that are large, or far from one another, do not cost GroupNorm its digits",
          "[kernels][convnet][group-norm]") {
  const ConvNetCase c = with_groups({{2, 3, 16, 16}, 16, {1, 1}}, 4);
  const Tensor x = normal("x", c.image);
  const Tensor apart = normal("apart", {c.width}) * 100;
  for (const Tensor& bias : {at::full({c.width}, 100.0), apart}) {
    Tensors parameters = convnet_parameters(c);
    parameters[1] = bias;
    const at::NoGradGuard no_grad;
    const Tensor wanted =
        convnet_features_reference(x.to(at::kDouble), in_double(parameters), c.shape);
    for_each_instruction_set([&] {
      // A map of 100 and more keeps 4e-6 to 8e-6 of a deviation of one.
      CHECK_CLOSE(convnet_features(x, parameters, c.shape), wanted, 2e-5);
    });
  }
}

TEST_CASE("an odd batch on three threads gives the bits of one thread, and the reference's numbers",
          "[kernels][convnet]") {
  for (const ConvNetCase& c : {kOddBatch, with_groups(kNarrowOddBatch)}) {
    INFO(c);
    const Tensors parameters = convnet_parameters(c);
    const Tensor x = leaf(normal("x", c.image));
    const Outcome here = forward_and_backward(convnet_features, x, parameters, c.shape);
    check_found(c, here,
                forward_and_backward(convnet_features_reference, leaf(x.to(at::kDouble)),
                                     in_double(parameters), c.shape));
    const WithThreads many(3);
    const Outcome split = forward_and_backward(convnet_features, x, parameters, c.shape);
    CHECK(at::equal(split.features, here.features));
    CHECK(at::equal(split.gradients[0], here.gradients[0]));
    for (std::size_t i = 1; i < here.gradients.size(); ++i) {
      INFO("gradient " << i);
      CHECK_CLOSE(split.gradients[i], here.gradients[i], 5e-6);  // summed by thread
    }
  }
}

TEST_CASE("the ConvNet reference agrees with finite differences", "[kernels][convnet]") {
  for (const std::int64_t groups : {0, 1, 2}) {
    const ConvNetCase c = with_groups({{2, 1, 6, 6}, 4, {2, 2}}, groups);
    INFO(c);
    const Tensors p = in_double(convnet_parameters(c));
    const Tensor x = normal("x", c.image).to(at::kDouble);
    CHECK(direction_error(
              [&](const Tensor& v) { return convnet_features_reference(v, p, c.shape); }, x) <
          1e-6);
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (i % 4 == 1 && takes_channel_means(c.shape, c.width)) continue;  // zero
      INFO("parameter " << i);
      const auto of_parameter = [&](const Tensor& v) {
        Tensors q = p;
        q[i] = v;
        return convnet_features_reference(x, q, c.shape);
      };
      CHECK(direction_error(of_parameter, p[i]) < 1e-6);
    }
  }
}

TEST_CASE("gradients that nobody asks for change nothing in the others", "[kernels][convnet]") {
  for_each_instruction_set([] {
    for (const ConvNetCase& c : {convnet_cases()[0], with_groups(convnet_cases()[0])}) {
      INFO(c);
      const Tensors parameters = convnet_parameters(c);
      const Tensor x = leaf(normal("x", c.image));
      const Tensor full = convnet_features(x, parameters, c.shape);
      const Tensor gy = normal("gy", full.sizes());
      const Tensors all = torch::autograd::grad({full}, with_input(x, parameters), {gy});

      Tensors frozen;
      for (const Tensor& p : parameters) frozen.push_back(p.detach());
      const Tensor of_input = convnet_features(x, frozen, c.shape);
      CHECK(at::equal(torch::autograd::grad({of_input}, {x}, {gy})[0], all[0]));

      const Tensor of_parameters = convnet_features(x.detach(), parameters, c.shape);
      const Tensors some = torch::autograd::grad({of_parameters}, parameters, {gy});
      for (std::size_t i = 0; i < some.size(); ++i) CHECK(at::equal(some[i], all[i + 1]));

      for (std::size_t only = 0; only < parameters.size(); ++only) {
        INFO("parameter " << only);
        Tensors one = frozen;
        one[only] = leaf(parameters[only]);
        const Tensor y = convnet_features(x.detach(), one, c.shape);
        CHECK(at::equal(torch::autograd::grad({y}, {one[only]}, {gy})[0], all[only + 1]));
      }
      CHECK(!convnet_features(x.detach(), frozen, c.shape).requires_grad());
    }
  });
}

TEST_CASE("fused features accept strided images, views of one flat vector and summed cotangents",
          "[kernels][convnet]") {
  for_each_instruction_set([] {
    const ConvNetCase& c = convnet_cases()[1];
    const Tensors parameters = convnet_parameters(c);
    const Tensor x = leaf(normal("x", c.image));
    const Tensor expected = convnet_features(x, parameters, c.shape);
    const Tensor turned = leaf(x.detach().permute({0, 2, 3, 1}));
    const Tensor y = convnet_features(turned.permute({0, 3, 1, 2}), parameters, c.shape);
    CHECK(at::equal(y, expected));
    const Tensor gx = torch::autograd::grad({expected.sum()}, {x})[0];
    CHECK(at::equal(torch::autograd::grad({y.sum()}, {turned})[0].permute({0, 3, 1, 2}), gx));
  });
}

TEST_CASE("second order through the fused ConvNet is the reference's", "[kernels][convnet]") {
  const ConvNetCase c =
      with_groups({{2, 1, 6, 6}, 16, {2, 2}}, GENERATE(std::int64_t{0}, std::int64_t{4}));
  INFO(c);
  const Tensors parameters = convnet_parameters(c);
  const Tensor x = leaf(normal("x", c.image));
  const auto second = [&](const auto& function, const Tensor& images, const Tensors& p) {
    const Tensor y = function(images, p, c.shape);
    const Tensors first =
        torch::autograd::grad({y.square().sum()}, {p[0], p[4]}, {}, true, /*create_graph=*/true);
    return torch::autograd::grad({first[0].square().sum() + first[1].square().sum()},
                                 {images, p[4]});
  };
  const Tensors wanted =
      second(convnet_features_reference, leaf(x.to(at::kDouble)), in_double(parameters));
  for_each_instruction_set([&] {
    const Tensors found = second(convnet_features, x, parameters);
    CHECK(distance(found[0], wanted[0]) < 1e-5);
    CHECK(distance(found[1], wanted[1]) < 1e-5);
    CHECK(kernels::counters().second_order == 1);
  });
}

TEST_CASE("what the fused ConvNet does not serve goes to the reference and is counted",
          "[kernels][convnet]") {
  kernels::reset_counters();
  const ConvNetCase& c = convnet_cases()[1];
  const Tensors parameters = convnet_parameters(c);
  const Tensor x = normal("x", c.image);
  const Tensor expected = convnet_features_reference(x, parameters, c.shape);
  kernels::set_policy(kernels::Policy::Reference);
  CHECK(at::equal(convnet_features(x, parameters, c.shape), expected));
  kernels::set_policy(kernels::Policy::Fast);
  CHECK_CLOSE(convnet_features(x.to(at::kDouble), in_double(parameters), c.shape), expected, 1e-5);
  CHECK(kernels::counters().convnet_fallback == 2);
  CHECK(kernels::counters().convnet_fast == 0);
  CHECK(!kernels::serves_convnet_features(at::zeros({0, 3, 16, 16}), parameters, c.shape));
  CHECK(!kernels::serves_convnet_features(at::zeros({1, 3, 7, 7}), parameters, c.shape));
  for (const std::int64_t groups : {-1, 3, 32}) {  // that do not divide 16 channels
    CHECK(!kernels::serves_convnet_features(x, parameters, with_groups(c, groups).shape));
  }
  CHECK_THROWS_WITH_TEXT(convnet_features(x, std::span(parameters).first(11), c.shape), ConfigError,
                         "a depth of 3 needs 12 parameters");
}

TEST_CASE("a diverged network gives NaN features, not zeros", "[kernels][convnet]") {
  for_each_instruction_set([] {
    for (const ConvNetCase& c : {convnet_cases()[1], with_groups(convnet_cases()[1])}) {
      Tensors parameters = convnet_parameters(c);
      parameters[4] = parameters[4].detach() * std::numeric_limits<float>::quiet_NaN();
      const at::NoGradGuard no_grad;
      CHECK(convnet_features(normal("x", c.image), parameters, c.shape).isnan().any().item<bool>());
    }
  });
}

TEST_CASE("fused features are the same bits on any thread and for any cut of the batch",
          "[kernels][convnet]") {
  const ConvNetCase c = with_groups(convnet_cases()[4], GENERATE(std::int64_t{0}, std::int64_t{4}));
  INFO(c);
  const Tensors parameters = convnet_parameters(c);
  const Tensor x = normal("x", c.image);
  const auto run = [&] {
    const Tensor y = convnet_features(x, parameters, c.shape);
    Tensors result = torch::autograd::grad({y.square().sum()}, parameters);
    result.push_back(y.detach());
    return result;
  };
  const Tensors here = run();
  check_same_bits_in_tasks(run, here);
  const at::NoGradGuard no_grad;
  const Tensor one = convnet_features(x.narrow(0, 7, 1), parameters, c.shape);
  CHECK(at::equal(one[0], here.back()[7]));
  const WithThreads two(2);
  CHECK(at::equal(convnet_features(x, parameters, c.shape), here.back()));
}

TEST_CASE("bf16 features stay close to the float32 ones, and their class means closer",
          "[kernels][convnet][mixed]") {
  const at::NoGradGuard no_grad;
  const ConvNetCase c{{40, 3, 16, 16}, 64, {2, 1}};
  const Tensors parameters = convnet_parameters(c);
  const Tensor x = normal("x", c.image);
  const Tensor mixed = kernels::convnet_features_mixed(x, parameters, c.shape);
  const Tensor exact = convnet_features_reference(x, parameters, c.shape);
  REQUIRE(mixed.scalar_type() == at::kFloat);
  CHECK(distance(mixed, exact) < 1e-2);
  CHECK(distance(mixed, exact) > 1e-5);  // it is bf16 that ran
  CHECK(distance(mixed.mean(0), exact.mean(0)) < 5e-3);
}

TEST_CASE("precision mixed takes the bf16 path where the processor gains by it and nowhere else",
          "[kernels][convnet][mixed]") {
  const at::NoGradGuard no_grad;
  const ConvNetCase c{{3, 3, 16, 16}, 32, {2, 1}};
  const Tensors parameters = convnet_parameters(c);
  kernels::reset_counters();
  kernels::set_precision(kernels::Precision::Mixed);
  convnet_features(normal("x", c.image), parameters, c.shape);
  convnet_features(normal("x", c.image), parameters, with_groups(c).shape);
  kernels::set_precision(kernels::Precision::Fp32);
  if (!kernels::processor_gains_by_mixed()) WARN("SKIPPED: no AMX, only the refusal is tested");
  CHECK(kernels::counters().convnet_mixed == (kernels::processor_gains_by_mixed() ? 1 : 0));
}
