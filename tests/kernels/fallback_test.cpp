// What the kernels do without any of the loops.

#include <functional>
#include <span>

#include <torch/csrc/autograd/autograd.h>

#include "lib/kernels/conv3x3.h"
#include "lib/kernels/convnet_gradient.h"
#include "lib/kernels/convnet_outputs.h"
#include "tests/kernels/convnet_cases.h"

using namespace retort;
using namespace retort::testing;
using kernels::Counters;

namespace {

using Function = std::function<Tensors(const Tensors&)>;

const ConvNetCase kCase{{3, 3, 16, 16}, 16, {2, 1}};  // which the loops serve

/// What a function of leaves gives, and its first and second derivatives.
Tensors three_orders(const Function& function, const Tensors& inputs) {
  Tensors all = function(inputs);
  const auto squares = [](const Tensors& tensors) {
    Tensor sum = at::zeros({}, tensors[0].options().requires_grad(false));
    for (const Tensor& t : tensors) sum = sum + t.square().sum();
    return sum;
  };
  const Tensors first = torch::autograd::grad({squares(all)}, inputs, {}, true, true);
  const Tensors second = torch::autograd::grad({squares(first)}, inputs, {}, true, false,
                                               /*allow_unused=*/true);
  all.insert(all.end(), first.begin(), first.end());
  for (const Tensor& t : second) {
    if (t.defined()) all.push_back(t);
  }
  return all;
}

/// Without loops `kernel` is `reference`, bit for bit and to second order, takes one fallback and
/// no fast path; and its values are right.
void check_fallback(const Function& kernel, const Function& reference, const Tensors& inputs,
                    std::int64_t Counters::*fallbacks) {
  const Tensors exact = reference(in_double(inputs));
  const Tensors wanted = three_orders(reference, inputs);
  const WithLoops none(nullptr);
  kernels::reset_counters();
  const Tensors found = three_orders(kernel, inputs);
  REQUIRE(found.size() == wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    INFO("tensor " << i);
    CHECK(at::equal(found[i], wanted[i]));
    if (i < exact.size()) CHECK(distance(found[i], exact[i]) < 1e-5);
  }
  const Counters counted = kernels::counters();
  CHECK(counted.*fallbacks == 1);
  CHECK(counted.conv_fast + counted.convnet_fast + counted.convnet_mixed + counted.gradient_fast +
            counted.attention_fast + counted.batch_norm_fast + counted.second_order ==
        0);
}

std::span<const Tensor> parameters_of(const Tensors& inputs) {
  return std::span(inputs).subspan(1);
}

}  // namespace

TEST_CASE("a program without loops is what a test can ask for, and what it can end",
          "[kernels][fallback]") {
  const kernels::Loops* const best = kernels::best_loops();
  REQUIRE(best != nullptr);
  {
    const WithLoops none(nullptr);
    CHECK(kernels::best_loops() == nullptr);
  }
  CHECK(kernels::best_loops() == best);
}

TEST_CASE("without loops the 3x3 convolution is LibTorch's", "[kernels][conv][fallback]") {
  for (const std::int64_t channels : {16, 3}) {  // Winograd, and patches
    INFO(channels << " channels");
    const Tensors inputs = {leaf(normal("x", {2, channels, 8, 8})),
                            leaf(normal("weight", {16, channels, 3, 3}) * 0.1),
                            leaf(normal("bias", {16}))};
    CHECK(kernels::serves_conv3x3(inputs[0], inputs[1]));
    check_fallback(
        [](const Tensors& in) { return Tensors{kernels::conv3x3(in[0], in[1], in[2])}; },
        [](const Tensors& in) { return Tensors{kernels::conv3x3_reference(in[0], in[1], in[2])}; },
        inputs, &Counters::conv_fallback);
    const WithLoops none(nullptr);
    CHECK(!kernels::serves_conv3x3(inputs[0], inputs[1]));
  }
}

TEST_CASE("without loops a ConvNet's features are LibTorch's, whatever the precision",
          "[kernels][convnet][fallback]") {
  const kernels::ConvNetShape shape = (GENERATE(false, true) ? with_groups(kCase) : kCase).shape;
  INFO("groups " << shape.norm_groups);
  const Tensors inputs = with_input(leaf(normal("x", kCase.image)), convnet_parameters(kCase));
  CHECK(kernels::serves_convnet_features(inputs[0], parameters_of(inputs), shape));
  const Function features = [&shape](const Tensors& in) {
    return Tensors{kernels::convnet_features(in[0], parameters_of(in), shape)};
  };
  const Function reference = [&shape](const Tensors& in) {
    return Tensors{kernels::convnet_features_reference(in[0], parameters_of(in), shape)};
  };
  check_fallback(features, reference, inputs, &Counters::convnet_fallback);

  const at::NoGradGuard no_grad;
  const WithLoops none(nullptr);
  kernels::reset_counters();
  CHECK(!kernels::serves_convnet_features(inputs[0], parameters_of(inputs), shape));
  kernels::set_precision(kernels::Precision::Mixed);
  const Tensor mixed = features(inputs)[0];
  kernels::set_precision(kernels::Precision::Fp32);
  CHECK(at::equal(mixed, reference(inputs)[0]));
  CHECK(kernels::counters().convnet_fallback == 1);
  CHECK(kernels::counters().convnet_mixed == 0);
}

TEST_CASE("without loops a ConvNet's outputs under every norm are LibTorch's",
          "[kernels][outputs][fallback]") {
  using kernels::ConvNetNorm;
  const Tensors inputs = with_input(leaf(normal("x", kCase.image)), convnet_parameters(kCase));
  for (const ConvNetNorm norm :
       {ConvNetNorm::Instance, ConvNetNorm::BatchTrain, ConvNetNorm::BatchEval}) {
    for (const double power : {0, 2}) {
      INFO("norm " << int(norm) << ", power " << power);
      const kernels::ConvNetRun run{.shape = kCase.shape, .norm = norm, .attention_power = power};
      // Running statistics, new for every call: training moves them.
      const auto buffers = [&](const Tensors& in) {
        Tensors all;
        for (std::int64_t b = 0; norm != ConvNetNorm::Instance && b < kCase.shape.depth; ++b) {
          all.push_back(at::full({kCase.width}, 0.1, in[0].options().requires_grad(false)));
          all.push_back(at::full({kCase.width}, 0.7, in[0].options().requires_grad(false)));
        }
        return all;
      };
      const auto with_buffers = [&](const auto& function) {
        return [&, function](const Tensors& in) {
          const Tensors own = buffers(in);
          return all_outputs(function(in[0], parameters_of(in), own, run));
        };
      };
      check_fallback(with_buffers(kernels::convnet_outputs),
                     with_buffers(kernels::convnet_outputs_reference), inputs,
                     power > 0                       ? &Counters::attention_fallback
                     : norm != ConvNetNorm::Instance ? &Counters::batch_norm_fallback
                                                     : &Counters::convnet_fallback);
      CHECK(kernels::counters().batch_norm_fallback == (norm != ConvNetNorm::Instance ? 1 : 0));
      const Tensors own = buffers(inputs);
      CHECK(kernels::serves_convnet_outputs(inputs[0], parameters_of(inputs), own, run));
      const WithLoops none(nullptr);
      CHECK(!kernels::serves_convnet_outputs(inputs[0], parameters_of(inputs), own, run));
    }
  }
}

TEST_CASE("without loops training-mode BatchNorm moves the running statistics once",
          "[kernels][outputs][fallback]") {
  const at::NoGradGuard no_grad;
  const ConvNetCase c{{3, 3, 8, 8}, 16, {1, 1}};
  const Tensors parameters = convnet_parameters(c);
  const Tensor x = normal("x", c.image);
  const kernels::ConvNetRun run{.shape = c.shape, .norm = kernels::ConvNetNorm::BatchTrain};
  const auto moved = [&](const auto& function) {
    const Tensors buffers = {at::zeros({c.width}), at::ones({c.width})};
    function(x, parameters, buffers, run);
    return buffers;
  };
  const Tensors wanted = moved(kernels::convnet_outputs_reference);
  const WithLoops none(nullptr);
  const Tensors found = moved(kernels::convnet_outputs);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(at::equal(found[i], wanted[i]));
    CHECK(found[i].sub(double(i)).abs().min().item<float>() > 0);
  }
}

TEST_CASE("without loops loss gradients are LibTorch's", "[kernels][second-order][fallback]") {
  const Tensors parameters = parameters_with_classifier(kCase);
  const Tensors inputs = {leaf(normal("x", kCase.image)), leaf(make_targets(kCase))};
  CHECK(kernels::serves_convnet_loss_gradients(inputs[0], parameters, kCase.shape));
  // Not the gradients of the convolutions' biases, which are rounding about zero.
  const auto without_biases = [&](const auto& function) {
    return [&, function](const Tensors& in) {
      Tensors own = parameters;
      for (Tensor& p : own) p = p.to(in[0].scalar_type());
      Tensors gradients = function(in[0], in[1], own, kCase.shape, Tensors{});
      for (std::int64_t b = kCase.shape.depth; b-- > 0;) {
        gradients.erase(gradients.begin() + 4 * b + 1);
      }
      return gradients;
    };
  };
  check_fallback(without_biases(kernels::convnet_loss_gradients),
                 without_biases(kernels::convnet_loss_gradients_reference), inputs,
                 &Counters::gradient_fallback);
  const WithLoops none(nullptr);
  CHECK(!kernels::serves_convnet_loss_gradients(inputs[0], parameters, kCase.shape));
}
