// Everything above the kernels, with a backend of host functions that serves the CPU's tensors.

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>

#include "lib/augment/augment.h"
#include "lib/core/error.h"
#include "lib/kernels/device_block.h"
#include "lib/nn/network.h"
#include "lib/train/supervised.h"
#include "methods/matching/image_optimizer.h"
#include "tests/kernels/cuda/host.h"
#include "tests/kernels/cuda/host_backend.h"

using namespace retort;
using namespace retort::testing;
using augment::Draw;
using augment::Sharing;
using augment::Strategy;
using kernels::counters;
using kernels::CudaBackend;
using methods::matching::ImageOptimizer;

namespace {

class ReferencePolicy {
 public:
  ReferencePolicy() { kernels::set_policy(kernels::Policy::Reference); }
  ~ReferencePolicy() { kernels::set_policy(kernels::Policy::Fast); }
};

nn::NetworkState state_of(const nn::Network& network, at::ScalarType dtype) {
  auto state = network.initialize(Rng(3));
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    const auto& name = network.parameters()[i].name;
    // Norms start as ones and zeros, which would hide what multiplies or adds them.
    const Tensor p = state.parameters[i] + 0.2 * normal(name, state.parameters[i].sizes());
    state.parameters[i] = p.to(dtype).requires_grad_();
  }
  for (Tensor& b : state.buffers) b = b.to(dtype);
  return state;
}

Tensors inputs_of(const nn::NetworkState& state, const Tensor& x) {
  Tensors inputs = state.parameters;
  inputs.push_back(x);
  return inputs;
}

/// Logits, then gradients of their squares: parameters, images.
Tensors first_order(const nn::Network& network, const Tensor& images, at::ScalarType dtype,
                    const nn::ForwardOptions& options = {}) {
  const auto state = state_of(network, dtype);
  const Tensor x = leaf(images.to(dtype));
  const Tensor logits = network.forward(state, x, options).logits;
  Tensors result = torch::autograd::grad({logits.square().sum()}, inputs_of(state, x));
  result.insert(result.begin(), logits.detach());
  return result;
}

/// Gradients of the squared gradient of the first convolution's weight.
Tensors second_order(const nn::Network& network, const Tensor& images, at::ScalarType dtype) {
  const auto state = state_of(network, dtype);
  const Tensor x = leaf(images.to(dtype));
  const Tensor logits = network.forward(state, x).logits;
  const Tensor first = torch::autograd::grad({logits.square().sum()}, {state.parameters[0]}, {},
                                             true, /*create_graph=*/true)[0];
  return torch::autograd::grad({first.square().sum()},
                               {x, state.parameters[0], state.parameters[2], state.parameters[6]});
}

/// @param biases positions of convolutions' biases before a norm, whose gradients are rounding
void check_all_close(const Tensors& actual, const Tensors& expected, double tolerance,
                     const std::vector<std::size_t>& biases = {}) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    INFO("tensor " << i);
    if (std::find(biases.begin(), biases.end(), i) != biases.end()) {
      CHECK(actual[i].abs().max().item<double>() < 1e-3);
    } else {
      CHECK_CLOSE(actual[i], expected[i], tolerance);
    }
  }
}

const std::vector<std::size_t> kBiases{2, 6};  // behind the logits, two per block

}  // namespace

// ---- block --------------------------------------------------------------------------------------

TEST_CASE("a ConvNet on a device's blocks equals LibTorch's, forward and gradient",
          "[kernels][device]") {
  for (const auto& shape : {nn::ImageShape{3, 10, 13}, {1, 9, 9}, {3, 16, 16}}) {
    INFO(shape.channels << "x" << shape.height << "x" << shape.width);
    const auto network = nn::make_network("ConvNet-2-w8", shape, 4);
    const Tensor images = normal("images", {5, shape.channels, shape.height, shape.width});
    const Tensors expected = first_order(*network, images, at::kDouble);
    const ServesCpu backend;
    check_all_close(first_order(*network, images, at::kFloat), expected, 2e-5, kBiases);
    CHECK(counters().device_block_fast == 2);
    CHECK(counters().device_block_fallback == 0);
    CHECK(counters().convnet_fast == 0);
    CHECK(counters().second_order == 0);
  }
}

TEST_CASE("the gradient of a device's blocks can itself be differentiated", "[kernels][device]") {
  const nn::ImageShape shape{3, 10, 13};
  const auto network = nn::make_network("ConvNet-2-w8", shape, 4);
  const Tensor images = normal("images", {3, 3, 10, 13});
  const Tensors expected = second_order(*network, images, at::kDouble);
  const ServesCpu backend;
  check_all_close(second_order(*network, images, at::kFloat), expected, 1e-4);
  CHECK(counters().device_block_fast == 2);
  CHECK(counters().second_order == 2);
}

TEST_CASE("gradients of the loss that are differentiated again leave blocks to LibTorch",
          "[kernels][device]") {
  const auto network = nn::make_network("ConvNet-2-w8", {3, 10, 13}, 4);
  const Tensor images = normal("images", {3, 3, 10, 13});
  const Tensor targets = normal("targets", {3, 4}).softmax(1);
  const auto gradients = [&](at::ScalarType dtype) {
    auto state = state_of(*network, dtype);
    for (Tensor& p : state.parameters) p = p.detach();
    const Tensor x = leaf(images.to(dtype));
    const Tensors found = network->loss_gradients(state, x, targets.to(dtype));
    return Tensors{found[0].detach(), torch::autograd::grad({found[0].square().sum()}, {x})[0]};
  };
  const Tensors expected = gradients(at::kDouble);
  const ServesCpu backend;
  check_all_close(gradients(at::kFloat), expected, 1e-4);
  CHECK(counters().device_block_fast == 0);
  CHECK(counters().device_block_fallback == 0);
  // Without a second time, kernels serve.
  auto state = state_of(*network, at::kFloat);
  for (Tensor& p : state.parameters) p = p.detach();
  CHECK_CLOSE(network->loss_gradients(state, images, targets)[0], expected[0], 2e-5);
  CHECK(counters().device_block_fast == 2);
}

TEST_CASE("blocks of which more is asked than the pooled map, and other blocks, are LibTorch's",
          "[kernels][device]") {
  const Tensor images = normal("images", {3, 3, 8, 8});
  const auto expect_libtorch = [&](const std::string& name, const nn::ForwardOptions& options) {
    INFO(name);
    const auto network = nn::make_network(name, {3, 8, 8}, 4);
    const Tensors expected = first_order(*network, images, at::kDouble, options);
    const ServesCpu backend;
    const Tensors actual = first_order(*network, images, at::kFloat, options);
    CHECK_CLOSE(actual[0], expected[0], 2e-5);
    CHECK_CLOSE(actual.back(), expected.back(), 5e-5);
    CHECK(counters().device_block_fast == 0);
  };
  expect_libtorch("ConvNet-2-w8", {.activation_maps = true});
  expect_libtorch("ConvNet-2-w8", {.attention_power = 2});
  expect_libtorch("ConvNet-2-w8", {.second_order = true});
  for (const char* name : {"ConvNet-2-BN-w8", "ConvNet-2-GN-w8", "ConvNet-2-w8-max",
                           "ConvNet-2-w8-swish", "ConvNet-2-w8-nopool"}) {
    expect_libtorch(name, {});
  }
}

TEST_CASE("a device's block computes gradients of strided maps and of frozen parameters",
          "[kernels][device]") {
  const Tensor stored = normal("x", {2, 6, 7, 3});
  const Tensor gy = normal("gy", {3, 3, 2, 1}).permute({2, 1, 0, 3}).expand({2, 3, 3, 3});
  const Tensor weight = normal("weight", {3});
  const Tensor bias = normal("bias", {3});
  const auto gradient = [&](at::ScalarType dtype, bool fast) {
    const Tensor x = leaf(stored.to(dtype));
    const Tensor map = x.permute({0, 3, 1, 2});
    const Tensor w = weight.to(dtype);
    const Tensor b = bias.to(dtype);
    const Tensor y =
        fast ? kernels::device_block(map, w, b, 1e-5) : kernels::block_reference(map, w, b, 1e-5);
    REQUIRE(y.defined());
    return torch::autograd::grad({y}, {x}, {gy.to(dtype)})[0];
  };
  const Tensor expected = gradient(at::kDouble, false);
  const ServesCpu backend;
  CHECK_CLOSE(gradient(at::kFloat, true), expected, 1e-5);
  const at::NoGradGuard no_grad;
  CHECK(!kernels::device_block(leaf(stored).permute({0, 3, 1, 2}), weight, bias, 1e-5)
             .requires_grad());
}

// ---- augmentation -------------------------------------------------------------------------------

namespace {

constexpr double kAugmentTolerance = 5e-6;

struct Outcome {
  Tensor y;   ///< of x
  Tensor gx;  ///< of gy
};

Outcome apply(const Strategy& s, const Draw& d, at::ScalarType dtype, const Tensor& images,
              const Tensor& cotangent) {
  const Tensor x = leaf(images.to(dtype));
  const Tensor y = augment::apply(s, d, x);
  return {y.detach(), torch::autograd::grad({y}, {x}, {cotangent.to(dtype)})[0]};
}

}  // namespace

TEST_CASE("a device's augmentations equal LibTorch's, shared and per sample, and are counted",
          "[kernels][device]") {
  const std::vector<std::vector<std::int64_t>> shapes = {{4, 3, 16, 16}, {3, 1, 7, 10}};
  for (const char* name : {"color", "crop", "cutout", "flip", "scale", "rotate"}) {
    for (const char* style : {"dsa", "mtt"}) {
      for (const Sharing sharing : {Sharing::Siamese, Sharing::PerSample}) {
        for (const auto& shape : shapes) {
          INFO(name << ", " << style << (sharing == Sharing::Siamese ? ", shared " : ", each ")
                    << at::IntArrayRef(shape));
          const Strategy strategy = Strategy::of(name, style);
          Rng rng = Rng(6).child(name);
          Draw draw = augment::draw(strategy, sharing, shape[0], shape[2], shape[3], rng);
          // What is drawn for all images must not happen to change nothing.
          if (!draw.flip.empty()) draw.flip[0] = 0.25;
          if (!draw.shift_row.empty()) draw.shift_row[0] = 1;
          const Tensor x = normal("x", shape);
          const Tensor gy = normal("gy", shape);
          const Outcome expected = apply(strategy, draw, at::kDouble, x, gy);
          const ServesCpu backend;
          const Outcome actual = apply(strategy, draw, at::kFloat, x, gy);
          CHECK_CLOSE(actual.y, expected.y, kAugmentTolerance);
          CHECK_CLOSE(actual.gx, expected.gx, kAugmentTolerance);
          CHECK(counters().device_augment_fast == 1);
          CHECK(counters().device_augment_fallback == 0);
        }
      }
    }
  }
}

TEST_CASE("a sequence of a device's augmentations is differentiable any number of times",
          "[kernels][device]") {
  const Strategy strategy = Strategy::of("flip_color_rotate_cutout", "idc");
  Rng rng(8);
  const Draw draw = augment::draw(strategy, Sharing::PerSample, 4, 9, 12, rng);
  const Tensor x = normal("x", {4, 3, 9, 12});
  const Tensor direction = normal("direction", {4, 3, 9, 12});
  // y = A x + b, so the gradient of |y|^2 / 2 is A^T y, and that of (A^T y, direction) is
  // A^T A direction.
  const Tensor zero = at::zeros_like(x);
  const Tensor image_of_direction = apply(strategy, draw, at::kDouble, direction, zero).y -
                                    apply(strategy, draw, at::kDouble, zero, zero).y;
  const Tensor expected = apply(strategy, draw, at::kDouble, x, image_of_direction).gx;
  const ServesCpu backend;
  const Tensor images = leaf(x);
  const Tensor y = augment::apply(strategy, draw, images);
  const Tensor first =
      torch::autograd::grad({y.square().sum() / 2}, {images}, {}, true, /*create_graph=*/true)[0];
  const Tensor second = torch::autograd::grad({(first * direction).sum()}, {images})[0];
  CHECK_CLOSE(second, expected, 4 * kAugmentTolerance);  // four operations, there and back
  CHECK(counters().device_augment_fast == std::int64_t(draw.sequence.size()));
}

TEST_CASE("a draw for another batch size is refused before a device sees it", "[kernels][device]") {
  const Strategy strategy = Strategy::parse("crop");
  Rng rng(1);
  const Draw draw = augment::draw(strategy, Sharing::PerSample, 3, 8, 8, rng);
  const ServesCpu backend;
  CHECK_THROWS_WITH_TEXT(augment::apply(strategy, draw, normal("x", {2, 1, 8, 8})), ConfigError,
                         "was drawn for 3 samples");
  CHECK(counters().device_augment_fast + counters().device_augment_fallback == 0);
}

// ---- steps --------------------------------------------------------------------------------------

namespace {

const std::vector<std::int64_t> kShape{4, 3, 5, 7};
constexpr std::int64_t kSteps = 6;
constexpr double kStepTolerance = 2e-6;

Tensor gradient_of(std::int64_t step) { return normal("g" + std::to_string(step), kShape); }

/// Runs two optimisers side by side, LibTorch's in float64 and a device's in float32.
/// @param step (optimiser, parameters, gradient)
template <class Optimizer, class Step>
void compare_steps(Optimizer plain, Optimizer fast, const Step& step, std::int64_t per_step) {
  Tensor expected = normal("w", kShape).to(at::kDouble);
  Tensor actual = normal("w", kShape);
  for (std::int64_t i = 0; i < kSteps; ++i) {
    step(plain, expected, gradient_of(i).to(at::kDouble));
    // Every third step without a device: the state is the same.
    if (i % 3 == 2) {
      step(fast, actual, gradient_of(i));
    } else {
      const ServesCpu backend;
      const auto version = actual._version();
      step(fast, actual, gradient_of(i));
      CHECK(actual._version() > version);
      CHECK(counters().device_step_fast == per_step);
      CHECK(counters().device_step_fallback == 0);
    }
    INFO("step " << i);
    CHECK_CLOSE(actual, expected, kStepTolerance);
  }
}

}  // namespace

TEST_CASE("a device's SGD steps of networks equal LibTorch's", "[kernels][device]") {
  for (const double momentum : {0.0, 0.9}) {
    for (const double weight_decay : {0.0, 0.01}) {
      INFO("momentum " << momentum << ", weight decay " << weight_decay);
      const train::Sgd sgd(momentum, weight_decay);
      const auto step = [](train::Sgd& optimizer, Tensor& w, const Tensor& g) {
        Tensors parameters{w, w.narrow(0, 0, 1).clone()};
        optimizer.step(parameters, {g, g.narrow(0, 0, 1)}, 0.1);
      };
      compare_steps(sgd, sgd, step, 2);
    }
  }
}

TEST_CASE("a device's steps of images equal LibTorch's", "[kernels][device]") {
  const auto step = [](ImageOptimizer& optimizer, Tensor& images, const Tensor& g) {
    optimizer.step(images, g);
  };
  for (const double momentum : {0.0, 0.5}) {
    INFO("momentum " << momentum);
    const ImageOptimizer sgd("sgd", 1.5, momentum);
    compare_steps(sgd, sgd, step, 1);
    const ImageOptimizer adam("adam", 0.02, momentum);
    compare_steps(adam, adam, step, 1);
  }
}

TEST_CASE("steps that write to strided tensors, and those per class, are LibTorch's",
          "[kernels][device]") {
  const auto moved = [](const char* kind, const Tensor& stored, const Tensor& g) {
    ImageOptimizer optimizer(kind, 0.1, 0.5, 2);
    optimizer.step(stored.permute({0, 3, 1, 2}), g);
    return stored;
  };
  const Tensor g = normal("g", {4, 3, 5, 7});
  for (const char* kind : {"sgd", "adam", "class-loop"}) {
    INFO(kind);
    const Tensor expected = moved(kind, normal("w", {4, 5, 7, 3}), g);
    const ServesCpu backend;
    CHECK(at::equal(moved(kind, normal("w", {4, 5, 7, 3}), g), expected));
    CHECK(counters().device_step_fast == 0);
    CHECK(counters().device_step_fallback == (std::string(kind) == "class-loop" ? 0 : 1));
  }
}

// ---- all together -------------------------------------------------------------------------------

namespace {

/// Parameters after three training steps with augmentation.
Tensors trained() {
  const auto network = nn::make_network("ConvNet-2-w8", {3, 12, 12}, 4);
  auto state = network->initialize(Rng(3));
  train::Sgd sgd(0.9, 5e-4);
  const train::TrainOptions options{.augmentation =
                                        Strategy::parse("color_crop_cutout_flip_scale_rotate")};
  const data::LabelledImages batch{normal("images", {8, 3, 12, 12}),
                                   data::HardLabels{at::arange(8, at::kLong).remainder(4)}};
  for (std::int64_t step = 0; step < 3; ++step) {
    train::train_step(*network, state, sgd, 0.05, batch, options, Rng(4).child("step", step));
  }
  return state.parameters;
}

}  // namespace

TEST_CASE(
    "training on a device's kernels equals training without, and nothing serves a policy of "
    "reference",
    "[kernels][device]") {
  const Tensors before = trained();
  Tensors expected;
  {
    const ReferencePolicy policy;
    expected = trained();
    const ServesCpu backend;
    const Tensors actual = trained();
    for (std::size_t i = 0; i < actual.size(); ++i) CHECK(at::equal(actual[i], expected[i]));
    CHECK(counters().device_block_fast == 0);
    CHECK(counters().device_augment_fast == 0);
    CHECK(counters().device_step_fast == 0);
    CHECK(counters().device_block_fallback > 0);
    CHECK(counters().device_augment_fallback > 0);
    CHECK(counters().device_step_fallback == 3 * std::int64_t(expected.size()));
  }
  {
    const ServesCpu backend;
    check_all_close(trained(), expected, 2e-5);
    CHECK(counters().device_block_fast > 0);
    CHECK(counters().device_augment_fast > 0);
    CHECK(counters().device_step_fast == 3 * std::int64_t(expected.size()));
    CHECK(counters().device_block_fallback == 0);
    CHECK(counters().device_augment_fallback == 0);
    CHECK(counters().device_step_fallback == 0);
  }
  // Without a backend the processor's own kernels are back, to the bit.
  const Tensors after = trained();
  for (std::size_t i = 0; i < after.size(); ++i) CHECK(at::equal(after[i], before[i]));
}

TEST_CASE("a function left out is replaced by LibTorch while the rest serves",
          "[kernels][device]") {
  const Strategy crop = Strategy::parse("crop");
  const Strategy flip = Strategy::parse("flip");
  Draw shifted;
  shifted.sequence = {augment::Operation::Crop};
  shifted.shift_row = {1};
  shifted.shift_col = {-2};
  Draw mirrored;
  mirrored.sequence = {augment::Operation::Flip};
  mirrored.flip = {0.1};
  const Tensor x = normal("x", {2, 3, 8, 8});
  const Tensor cropped = augment::apply(crop, shifted, x);
  CudaBackend partial = host_backend();
  partial.crop = nullptr;
  partial.norm_relu_pool_gradient = nullptr;
  const ServesCpu backend(partial);
  CHECK(at::equal(augment::apply(crop, shifted, x), cropped));
  CHECK(counters().device_augment_fallback == 1);
  CHECK(at::equal(augment::apply(flip, mirrored, x), x.flip(3)));
  CHECK(counters().device_augment_fast == 1);
  CHECK(!kernels::device_block(x, at::ones({3}), at::zeros({3}), 1e-5).defined());
  CHECK(counters().device_block_fallback == 1);
}

TEST_CASE("a backend for another kind of device leaves the processor alone", "[kernels][device]") {
  const Tensors expected = trained();
  kernels::reset_counters();
  kernels::install_device_backend(host_backend(), at::kCUDA);
  const Tensors actual = trained();
  kernels::remove_device_backend();
  for (std::size_t i = 0; i < actual.size(); ++i) CHECK(at::equal(actual[i], expected[i]));
  CHECK(counters().device_block_fast + counters().device_block_fallback == 0);
  CHECK(counters().device_augment_fast + counters().device_augment_fallback == 0);
  CHECK(counters().device_step_fast + counters().device_step_fallback == 0);
}

TEST_CASE("other dtypes and maps too small to pool are not served", "[kernels][device]") {
  const ServesCpu backend;
  const Tensor c = at::ones({3});
  const auto serves = [](const Tensor& x, const Tensor& weight) {
    return kernels::device_backend_for(kernels::DeviceTask::Block, {x, weight}) != nullptr;
  };
  CHECK(serves(at::zeros({1, 3, 2, 2}), c));
  CHECK(!serves(at::zeros({1, 3, 1, 2}), c));
  CHECK(!serves(at::zeros({0, 3, 2, 2}), c));
  CHECK(!serves(at::zeros({3, 2, 2}), c));
  CHECK(!serves(at::zeros({1, 3, 2, 2}, at::kDouble), c));
  CHECK(!serves(at::zeros({1, 3, 2, 2}), c.to(at::kDouble)));
  CHECK(counters().device_block_fast == 1);
  CHECK(counters().device_block_fallback == 5);
}
