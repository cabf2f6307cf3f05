#include "lib/kernels/observed_norm.h"

#include <torch/csrc/autograd/autograd.h>

#include "tests/kernels/kernel_test.h"

using namespace retort;
using namespace retort::testing;
using kernels::FixedNorm;
using kernels::observed_norm;
using kernels::observed_norm_reference;

namespace {

FixedNorm norm_of(std::int64_t channels, at::ScalarType dtype = at::kFloat) {
  const auto row = [&](const std::string& name) { return normal(name, {channels}).to(dtype); };
  return {row("weight"), row("bias"), row("mean") * 0.5, row("variance").square() + 0.2};
}

/// Outputs of a map, and the gradient of the map for a cotangent of each.
struct Outcome {
  Tensors outputs;
  Tensor gradient;
};

template <class Norm>
Outcome outcome(const Norm& norm, const Tensor& x, std::vector<bool> of = {true, true, true}) {
  const Tensor images = leaf(x);
  const auto found = norm(images);
  const Tensors all = {found.y, found.mean, found.variance};
  Tensors outputs;
  Tensors gy;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!of[i]) continue;
    outputs.push_back(all[i]);
    gy.push_back(normal("gy" + std::to_string(i), all[i].sizes()).to(x.scalar_type()));
    // Statistics belong to many values: as large a cotangent would say nothing.
    if (i > 0) gy.back() = gy.back() * double(x.numel() / x.size(1));
  }
  return {all, torch::autograd::grad(outputs, {images}, gy)[0]};
}

// Planes shorter than a vector, of no multiple of one, and longer than a short sum.
const std::vector<std::vector<std::int64_t>> kShapes = {
    {3, 2, 1, 1}, {5, 4, 4, 4}, {2, 3, 5, 7}, {7, 20, 8, 8}, {1, 2, 33, 41}, {2, 3, 64, 64}};

}  // namespace

TEST_CASE("a norm, what it observes and its gradient equal the float64 reference",
          "[kernels][observed-norm]") {
  for (const auto& shape : kShapes) {
    INFO(at::IntArrayRef(shape));
    const Tensor x = normal("x", shape) * 2 + 1;
    const FixedNorm norm = norm_of(shape[1]);
    const FixedNorm wide = norm_of(shape[1], at::kDouble);
    for (const std::vector<bool>& of :
         {std::vector<bool>{true, true, true}, {true, false, false}, {false, false, true}}) {
      const auto reference =
          outcome([&](const Tensor& images) { return observed_norm_reference(images, wide); },
                  x.to(at::kDouble), of);
      for_each_instruction_set([&] {
        REQUIRE(kernels::serves_observed_norm(x, norm));
        const auto found =
            outcome([&](const Tensor& images) { return observed_norm(images, norm); }, x, of);
        for (std::size_t i = 0; i < found.outputs.size(); ++i) {
          INFO("output " << i);
          CHECK_CLOSE(found.outputs[i], reference.outputs[i], 2e-6);
        }
        CHECK_CLOSE(found.gradient, reference.gradient, 5e-6);
      });
    }
  }
}

TEST_CASE("a mean far from zero costs the variance no digits", "[kernels][observed-norm]") {
  const Tensor x = normal("x", {6, 3, 16, 16}) + 1000;
  const auto wide = observed_norm_reference(x.to(at::kDouble), norm_of(3, at::kDouble));
  for_each_instruction_set(
      [&] { CHECK_CLOSE(observed_norm(x, norm_of(3)).variance, wide.variance, 1e-6); });
}

TEST_CASE("an observed norm has the same bits with one thread and two, and in tasks",
          "[kernels][observed-norm]") {
  const Tensor x = normal("x", {5, 7, 9, 9});
  const FixedNorm norm = norm_of(7);
  const auto run = [&] {
    const auto found =
        outcome([&](const Tensor& images) { return observed_norm(images, norm); }, x);
    return Tensors{found.outputs[0], found.outputs[1], found.outputs[2], found.gradient};
  };
  const Tensors one = run();
  check_same_bits_in_tasks(run, one);
  const WithThreads threads(2);
  const Tensors two = run();
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

TEST_CASE("an observed norm can be differentiated twice", "[kernels][observed-norm]") {
  const auto second = [](const auto& norm, const Tensor& values) {
    const Tensor x = leaf(values);
    const auto found = norm(x);
    const Tensor sum =
        found.y.square().sum() + found.mean.square().sum() + found.variance.square().sum();
    const Tensor g = torch::autograd::grad({sum}, {x}, {}, true, /*create_graph=*/true)[0];
    return torch::autograd::grad({g.square().sum()}, {x})[0];
  };
  const Tensor x = normal("x", {3, 2, 4, 4});
  const FixedNorm norm = norm_of(2);
  const FixedNorm wide = norm_of(2, at::kDouble);
  const Tensor found = second([&](const Tensor& v) { return observed_norm(v, norm); }, x);
  const Tensor expected =
      second([&](const Tensor& v) { return observed_norm_reference(v, wide); }, x.to(at::kDouble));
  CHECK_CLOSE(found, expected, 1e-5);
}

TEST_CASE("networks in training, other types and no loops are left to LibTorch",
          "[kernels][observed-norm]") {
  const Tensor x = normal("x", {3, 2, 4, 4});
  FixedNorm norm = norm_of(2);
  CHECK(kernels::serves_observed_norm(x, norm));
  CHECK_FALSE(kernels::serves_observed_norm(x.to(at::kDouble), norm_of(2, at::kDouble)));
  {
    const WithLoops none(nullptr);
    CHECK_FALSE(kernels::serves_observed_norm(x, norm));
  }
  norm.weight.requires_grad_();
  CHECK_FALSE(kernels::serves_observed_norm(x, norm));
}
