#include "lib/kernels/cuda/optimizer.h"
#include "lib/train/supervised.h"
#include "methods/matching/image_optimizer.h"
#include "tests/kernels/cuda/host.h"

using namespace retort;
using namespace retort::testing;
using namespace retort::kernels::cuda;
using methods::matching::ImageOptimizer;

namespace {

constexpr double kTolerance = 1e-6;
constexpr std::int64_t kSteps = 5;
const std::vector<std::int64_t> kShape{3, 7, 5};

Tensor gradient_of(std::int64_t step) { return normal("g" + std::to_string(step), kShape); }

SgdStep sgd(const Tensor& w, const Tensor& velocity, const Tensor& g, std::int64_t step) {
  SgdStep result{};
  result.count = w.numel();
  result.w = out(w);
  result.velocity = velocity.defined() ? out(velocity) : nullptr;
  result.g = in(g);
  result.first = step == 0;
  return result;
}

}  // namespace

TEST_CASE("the device's SGD equals train::Sgd over several steps", "[kernels][device]") {
  for (const double momentum : {0.0, 0.9}) {
    for (const double weight_decay : {0.0, 5e-4, 0.1}) {
      INFO("momentum " << momentum << ", weight decay " << weight_decay);
      const Tensor w = normal("w", kShape).clone();
      const Tensor velocity = momentum != 0 ? unwritten_like(w) : Tensor();
      Tensors expected{w.clone()};
      train::Sgd reference(momentum, weight_decay);
      for (std::int64_t step = 0; step < kSteps; ++step) {
        const double lr = 0.1 / double(step + 1);
        const Tensor g = gradient_of(step);
        SgdStep task = sgd(w, velocity, g, step);
        task.lr = float(lr);
        task.momentum = float(momentum);
        task.weight_decay = float(weight_decay);
        run(kHost, task);
        reference.step(expected, {g}, lr);
        CHECK_CLOSE(w, expected[0], kTolerance);
      }
      if (momentum != 0) CHECK_CLOSE(velocity, reference.velocity()[0], kTolerance);
    }
  }
}

TEST_CASE("the device's SGD equals the image optimiser's", "[kernels][device]") {
  for (const double momentum : {0.0, 0.5}) {
    INFO("momentum " << momentum);
    const Tensor images = normal("images", kShape).clone();
    const Tensor velocity = momentum != 0 ? unwritten_like(images) : Tensor();
    const Tensor expected = images.clone();
    ImageOptimizer reference("sgd", 10.0, momentum);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const Tensor g = gradient_of(step);
      SgdStep task = sgd(images, velocity, g, step);
      task.lr = 10;
      task.momentum = float(momentum);
      run(kHost, task);
      reference.step(expected, g);
      CHECK_CLOSE(images, expected, kTolerance);
    }
  }
}

TEST_CASE("the device's Adam equals the image optimiser's", "[kernels][device]") {
  constexpr double kLr = 0.02;
  constexpr double kBeta1 = 0.5;
  constexpr double kBeta2 = 0.999;
  const Tensor images = normal("images", kShape).clone();
  const Tensor first = at::zeros(kShape);
  const Tensor second = at::zeros(kShape);
  const Tensor expected = images.clone();
  ImageOptimizer reference("adam", kLr, kBeta1);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    // From large to tiny gradients: the second moment decides, then eps.
    const Tensor g = gradient_of(step) * std::pow(10.0, double(1 - 3 * step));
    AdamStep task = adam_step(images.numel(), kLr, kBeta1, kBeta2, step + 1);
    task.w = out(images);
    task.first_moment = out(first);
    task.second_moment = out(second);
    task.g = in(g);
    run(kHost, task);
    reference.step(expected, g);
    CHECK_CLOSE(images, expected, kTolerance);
  }
}
