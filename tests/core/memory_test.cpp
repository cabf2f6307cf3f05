#include "lib/core/memory.h"

#include <cstring>
#include <memory>
#include <sys/resource.h>
#include <vector>

#include <torch/csrc/autograd/autograd.h>

#include "tests/support/catch.h"

using namespace retort;

namespace {

long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

/// What a training step does: several large temporaries, written, then all freed.
void allocate_and_free() {
  constexpr std::size_t kBytes = 24 << 20;
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int i = 0; i < 4; ++i) {
    blocks.emplace_back(new char[kBytes]);
    std::memset(blocks.back().get(), i + 1, kBytes);
  }
}

Tensor normal(at::IntArrayRef shape) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  return at::randn(shape, generator, at::TensorOptions(at::kFloat));
}

Tensor embedding(Tensor map, const Tensors& weights) {
  for (const Tensor& w : weights) {
    map = at::conv2d(map, w, {}, 1, 1);
    map = at::avg_pool2d(at::relu(at::group_norm(map, w.size(0))), 2);
  }
  return map.flatten(1);
}

/// One iteration of distribution matching by LibTorch's operations: real images without a graph,
/// synthetic ones with, whose maps take 12 MiB each, and the gradient of the distance of the means.
void matching_iteration() {
  const Tensors weights = {normal({64, 3, 3, 3}) * 0.1, normal({64, 64, 3, 3}) * 0.05};
  const Tensor images = normal({48, 3, 32, 32});
  const Tensor synthetic = (images * 0.5).requires_grad_();
  Tensor real;
  {
    const at::NoGradGuard no_grad;
    real = embedding(images, weights).mean(0);
  }
  const Tensor loss = (real - embedding(synthetic, weights).mean(0)).square().sum();
  torch::autograd::grad({loss}, {synthetic});
}

}  // namespace

TEST_CASE("memory of freed tensors is used again without new pages", "[core][memory]") {
  tune_allocator();
  allocate_and_free();
  const long before = page_faults();
  for (int round = 0; round < 5; ++round) allocate_and_free();
  // Mapped anew, the five rounds would touch 5 * 96 MiB / 4 KiB = 122880 pages.
  CHECK(page_faults() - before < 5000);
}

TEST_CASE("iterations of distribution matching run in the pages of the first ones",
          "[core][memory]") {
  tune_allocator();
  const auto iterations = [](int count) {
    const long before = page_faults();
    for (int i = 0; i < count; ++i) matching_iteration();
    return page_faults() - before;
  };
  const long first = iterations(2);
  const long later = iterations(4);
  INFO("page faults: " << first << " in two iterations, then " << later << " in four");
  CHECK(later < 3072);  // the pages of a single map
}
