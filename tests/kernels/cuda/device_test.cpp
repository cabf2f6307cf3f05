// On a device: the kernels equal what the host makes of the same functions, which the other tests
// compare with LibTorch. Runs as a process of its own, since LibTorch looks for CUDA once.

#include "lib/core/device.h"

#include <functional>
#include <string>

#include "lib/augment/augment.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/kernels/cuda_module.h"
#include "lib/kernels/cuda_self_check.h"
#include "lib/nn/network.h"
#include "lib/train/supervised.h"
#include "tests/kernels/cuda/host.h"
#include "tests/kernels/cuda/host_backend.h"

using namespace retort;
using namespace retort::testing;
using namespace retort::kernels::cuda;
using kernels::CudaBackend;

namespace {

constexpr double kTolerance = 2e-6;
// As the host's of the same functions: a device contracts products and sums in its own places.
constexpr double kAugmentTolerance = 5e-6;

/// Whether a test may be skipped for this: nothing to test, or nothing to test it on. Everything
/// else is a module that does not work.
bool is_reason_to_skip(const std::string& message) {
  const auto says = [&](const char* text) { return message.find(text) != std::string::npos; };
  return says("the CUDA module was not built") || says("there is no NVIDIA driver") ||
         says("there is no usable CUDA device");
}

/// Runs `body` with the module, or says loudly why not.
void on_device(const std::function<void(const CudaBackend& backend)>& body) {
  const CudaBackend* backend = nullptr;
  try {
    backend = &kernels::load_cuda_module(RETORT_CUDA_MODULE);
  } catch (const ConfigError& e) {
    if (!is_reason_to_skip(e.what())) throw;
    WARN("SKIPPED: " << e.what());
    return;
  }
  body(*backend);
}

Tensor there(const Tensor& t) { return t.to(at::Device(at::kCUDA, 0)); }
Tensor here(const Tensor& t) { return t.to(at::kCPU); }

template <class Parameters>
Augmentation<Parameters> task(const Tensor& x, const Tensor& y,
                              const std::vector<Parameters>& parameters) {
  return {{x.size(0), x.size(1), x.size(2), x.size(3)},
          in(x),
          out(y),
          parameters.data(),
          parameters.size() == 1};
}

}  // namespace

TEST_CASE("on a device: norm, relu and pooling", "[cuda]") {
  on_device([](const CudaBackend& backend) {
    for (const auto& shape : std::vector<std::vector<std::int64_t>>{
             {1, 1, 2, 2}, {2, 3, 5, 7}, {64, 128, 16, 16}, {8, 33, 13, 32}}) {
      INFO(at::IntArrayRef(shape));
      const Tensor x = leaf(normal("x", shape).to(at::kDouble));
      const Tensor w = leaf(normal("w", {shape[1]}).to(at::kDouble));
      const Tensor b = leaf(normal("b", {shape[1]}).to(at::kDouble));
      const Tensor y = norm_relu_pool_reference(x, w, b);
      const Tensor gy = normal("gy", y.sizes());
      y.backward(gy.to(at::kDouble));
      const auto float_there = [](const Tensor& t) { return there(t.detach().to(at::kFloat)); };
      const Tensor fx = float_there(x);
      const Tensor fw = float_there(w);
      const Tensor fb = float_there(b);
      const auto output = backend.norm_relu_pool(fx, fw, fb, 1e-5);
      CHECK_CLOSE(here(output.y), y.detach(), kTolerance);
      const auto g = backend.norm_relu_pool_gradient(fx, fw, fb, output, there(gy));
      CHECK_CLOSE(here(g.x), x.grad(), 5 * kTolerance);
      CHECK_CLOSE(here(g.weight), w.grad(), 1e-5);
      CHECK_CLOSE(here(g.bias), b.grad(), 1e-5);
    }
  });
}

TEST_CASE("on a device: augmentations, shared and per sample", "[cuda]") {
  on_device([](const CudaBackend& backend) {
    const Tensor x = normal("x", {3, 3, 19, 24});
    const auto check = [&](const auto& launch, const auto& on_host, const auto& parameters) {
      const Tensor expected = unwritten_like(x);
      on_host(task(x, expected, parameters));
      CHECK_CLOSE(here(launch(there(x), parameters)), expected, kAugmentTolerance);
    };
    const auto plain = [](const auto& t) { run(kHost, t); };
    const Tensor means = unwritten({3});
    const auto with_means = [&](const auto& t) { run(kHost, t, out(means)); };
    const auto gradient = [](const auto& t) { run_gradient(kHost, t); };
    using Colors = std::vector<ColorParameters>;
    check(backend.color, with_means, Colors{{0.2F, 1.5F, 0.7F}});
    check(backend.color, with_means, Colors{{0.2F, 1.5F, 0.7F}, {0, 0, 1}, {-0.5F, 1, 1.5F}});
    check(backend.crop, plain, std::vector<CropParameters>{{-2, 3}, {0, 0}, {4, -4}});
    check(backend.cutout, plain, std::vector<CutoutParameters>{{-3, 7, 10, 22}});
    check(backend.flip, plain, std::vector<FlipParameters>{{true}, {false}, {true}});
    const ImageBatch batch{3, 3, 19, 24};
    const std::vector<ResampleParameters> turned{rotation(0.2, batch, false), scaling(0.9, 1.15),
                                                 rotation(-0.1, batch, true)};
    check(backend.resample, plain, turned);
    check(backend.resample_gradient, gradient, turned);
  });
}

TEST_CASE("on a device: optimiser steps", "[cuda]") {
  on_device([](const CudaBackend& backend) {
    const Tensor w = normal("w", {1000});
    const Tensor g = normal("g", {1000});
    const Tensor first = normal("first", {1000}) * 0.1;
    const Tensor second = normal("second", {1000}).square();

    SgdStep sgd{};
    sgd.lr = 0.1F;
    sgd.momentum = 0.9F;
    sgd.weight_decay = 0.01F;
    const Tensor sgd_w = there(w);
    const Tensor velocity = there(first);
    backend.sgd_step(sgd_w, velocity, there(g), sgd);
    const Tensor host_w = w.clone();
    const Tensor host_velocity = first.clone();
    sgd.count = 1000;
    sgd.w = out(host_w);
    sgd.velocity = out(host_velocity);
    sgd.g = in(g);
    run(kHost, sgd);
    CHECK_CLOSE(here(sgd_w), host_w, kTolerance);
    CHECK_CLOSE(here(velocity), host_velocity, kTolerance);

    AdamStep adam = adam_step(1000, 0.1, 0.9, 0.999, 3);
    const Tensor adam_w = there(w);
    const Tensor adam_first = there(first);
    const Tensor adam_second = there(second);
    backend.adam_step(adam_w, adam_first, adam_second, there(g), adam);
    const Tensor host_adam = w.clone();
    const Tensor host_first = first.clone();
    const Tensor host_second = second.clone();
    adam.w = out(host_adam);
    adam.first_moment = out(host_first);
    adam.second_moment = out(host_second);
    adam.g = in(g);
    run(kHost, adam);
    CHECK_CLOSE(here(adam_w), host_adam, kTolerance);
    CHECK_CLOSE(here(adam_second), host_second, kTolerance);
  });
}

TEST_CASE("on a device: tensors elsewhere are refused by name", "[cuda]") {
  on_device([](const CudaBackend& backend) {
    const Tensor x = normal("x", {2, 3, 4, 4});
    const Tensor c = at::ones({3});
    CHECK_THROWS_WITH_TEXT(backend.norm_relu_pool(x, c, c, 1e-5), Error, "x must be contiguous");
    CHECK_THROWS_WITH_TEXT(backend.norm_relu_pool(there(x), c, there(c), 1e-5), Error,
                           "weight must be contiguous");
    CHECK_THROWS_WITH_TEXT(backend.flip(there(x), {{true}, {true}, {true}}), Error,
                           "parameters for 1 or 2 images, found 3");
    CHECK_THROWS_WITH_TEXT(backend.flip(there(x).transpose(2, 3), {{true}}), Error,
                           "not contiguous");
  });
}

TEST_CASE("on a device: every kernel passes its self-check", "[cuda]") {
  on_device([](const CudaBackend& backend) {
    std::vector<std::string> warnings;
    const log::Sink previous = log::set_sink([&](log::Level level, const std::string& text) {
      if (level == log::Level::Warn) warnings.push_back(text);
    });
    const CudaBackend kept = kernels::self_checked(backend, at::Device(at::kCUDA, 0));
    log::set_sink(previous);
    INFO(join(warnings, "; "));
    CHECK(left_out(kept).empty());
  });
}

TEST_CASE("on a device: training by the kernels equals training by LibTorch", "[cuda]") {
  on_device([](const CudaBackend& backend) {
    const auto network = nn::make_network("ConvNet-3-w32", {3, 32, 32}, 4);
    const train::TrainOptions options{
        .augmentation = augment::Strategy::parse("color_crop_cutout_flip_scale_rotate")};
    const data::LabelledImages batch{there(normal("images", {16, 3, 32, 32})),
                                     data::HardLabels{at::arange(16, at::kLong).remainder(4)}};
    const auto trained = [&] {
      auto state = network->initialize(Rng(3), at::Device(at::kCUDA, 0));
      train::Sgd sgd(0.9, 5e-4);
      for (std::int64_t step = 0; step < 3; ++step) {
        train::train_step(*network, state, sgd, 0.05, batch, options, Rng(4).child("step", step));
      }
      return to_device(state.parameters, at::kCPU);
    };
    const Tensors expected = trained();
    kernels::reset_counters();
    kernels::install_device_backend(backend, at::kCUDA);
    const Tensors actual = trained();
    kernels::remove_device_backend();
    const kernels::Counters counters = kernels::counters();
    CHECK(counters.device_block_fast == 9);
    CHECK(counters.device_augment_fast > 0);
    CHECK(counters.device_step_fast == 3 * std::int64_t(expected.size()));
    CHECK(counters.device_block_fallback + counters.device_augment_fallback == 0);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO("parameter " << i);
      CHECK_CLOSE(actual[i], expected[i], 1e-4);
    }
  });
}
