#include "methods/decoupled/recover_loss.h"

#include "lib/core/parallel.h"
#include "methods/decoupled/image_priors.h"
#include "methods/decoupled/pixel_adam.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"
#include "tests/support/threads.h"

using namespace retort;
using namespace retort::methods::decoupled;

namespace {

struct Teacher {
  Teacher(const std::string& name, std::uint64_t seed)
      : network(nn::make_network(name, {3, 8, 8}, 4)), state(network->initialize(Rng(seed))) {
    for (Tensor& p : state.parameters) p = p.to(at::kDouble);
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      Tensor& b = state.buffers[i];
      b = (b + Rng(seed + 1).child(std::int64_t(i)).uniform_tensor(b.sizes(), 0.1, 0.5))
              .to(at::kDouble);
    }
  }
  Voter voter(double weight = 1) const { return {*network, state, state.buffers, weight}; }

  std::unique_ptr<nn::Network> network;
  nn::NetworkState state;
};

Tensor normal(std::uint64_t seed, at::IntArrayRef shape) {
  return Rng(seed).normal_tensor(shape).to(at::kDouble);
}

const LossWeights kWeights{.batch_norm = 0.05, .tv = 0.02, .l2 = 0.01};
const augment::SharedView kWhole{.crop = {0, 0, 8, 8}};
const augment::SharedView kView{
    .crop = {1, 2, 5, 6}, .flip = true, .roll_rows = 2, .roll_cols = -1};

/// Central difference of the total loss along a direction, and what the gradient says of it.
double gradient_error(const Recovered& batch, bool mirrored, const std::vector<Voter>& voters) {
  const auto total = [&](const Tensor& values) {
    Recovered moved = batch;
    moved.values = values;
    return recover_gradient(moved, kView, mirrored, voters, kWeights).loss.total;
  };
  const Tensor direction = normal(91, batch.values.sizes());
  constexpr double kStep = 1e-6;
  const double measured =
      (total(batch.values + kStep * direction) - total(batch.values - kStep * direction)) /
      (2 * kStep);
  const Tensor gradient = recover_gradient(batch, kView, mirrored, voters, kWeights).values;
  const double said = (gradient * direction).sum().item<double>();
  return std::abs(said - measured) / std::abs(measured);
}

}  // namespace

TEST_CASE("the gradient of recovered images is that of their loss", "[methods][decoupled]") {
  const Teacher a("ConvNet-2-w4-BN-swish", 3);
  const Teacher b("ConvNet-1-w6-BN-swish", 5);
  const Recovered images{.values = normal(1, {4, 3, 8, 8}), .classes = at::arange(4)};
  CHECK(gradient_error(images, false, {a.voter()}) < 1e-6);
  CHECK(gradient_error(images, true, {a.voter()}) < 1e-6);
  CHECK(gradient_error(images, false, {a.voter(0.3), b.voter(0.7)}) < 1e-6);
  const Recovered compensator{.values = normal(2, {1, 3, 8, 8}),
                              .frozen = normal(1, {4, 3, 8, 8}),
                              .classes = at::arange(4)};
  CHECK(gradient_error(compensator, false, {a.voter()}) < 1e-6);
  CHECK(gradient_error(compensator, true, {a.voter()}) < 1e-6);
}

TEST_CASE("a loss is made of its terms by their weights", "[methods][decoupled]") {
  const Teacher a("ConvNet-2-w4-BN", 3);
  const Teacher b("ConvNet-1-w6-BN", 5);
  const Recovered images{.values = normal(1, {4, 3, 8, 8}), .classes = at::arange(4)};
  const auto loss = [&](const std::vector<Voter>& voters) {
    return recover_gradient(images, kWhole, false, voters, kWeights).loss;
  };
  const RecoverLoss of_a = loss({a.voter()});
  const RecoverLoss of_b = loss({b.voter()});
  const RecoverLoss of_both = loss({a.voter(0.25), b.voter(0.75)});
  CHECK(of_a.total == Approx(of_a.cross_entropy + 0.05 * of_a.batch_norm + of_a.prior));
  CHECK(of_both.cross_entropy == Approx(0.25 * of_a.cross_entropy + 0.75 * of_b.cross_entropy));
  CHECK(of_both.batch_norm == Approx(0.25 * of_a.batch_norm + 0.75 * of_b.batch_norm));
  CHECK(of_both.prior == Approx(of_a.prior));
  CHECK(of_a.prior == Approx(0.02 * total_variation(images.values).item<double>() +
                             0.01 * mean_norm(images.values).item<double>()));
}

TEST_CASE("teachers of a batch that are asked side by side say what they say in turn",
          "[methods][decoupled]") {
  const Teacher a("ConvNet-2-w4-BN", 3);
  const Teacher b("ConvNet-1-w6-BN", 5);
  const std::vector<Voter> voters = {a.voter(0.3), b.voter(0.5), a.voter(0.2)};
  const Recovered images{.values = normal(1, {4, 3, 8, 8}), .classes = at::arange(4)};
  const RecoverGradient expected = recover_gradient(images, kView, true, voters, kWeights);
  const testing::WithThreads with(3);
  const SeenBatch seen(images, kView, true);
  std::vector<RecoverTerm> terms(voters.size());
  parallel_tasks(3, [&](std::int64_t m) {
    terms[std::size_t(m)] = seen.term_of(voters[std::size_t(m)], kWeights);
  });
  const RecoverGradient found = seen.gradient(terms, kWeights);
  CHECK(at::equal(found.values, expected.values));
  CHECK(found.loss.total == expected.loss.total);
  CHECK(found.loss.batch_norm == expected.loss.batch_norm);
}

TEST_CASE("the gradient of a compensator is the sum of those of the images",
          "[methods][decoupled]") {
  const Teacher teacher("ConvNet-2-w4-BN", 3);
  const Tensor real = normal(1, {4, 3, 8, 8});
  const Tensor added = normal(2, {1, 3, 8, 8});
  const auto gradient = [&](const Recovered& batch) {
    return recover_gradient(batch, kView, false, {teacher.voter()}, kWeights).values;
  };
  const Tensor of_images = gradient({.values = real + added, .classes = at::arange(4)});
  const Tensor of_compensator =
      gradient({.values = added, .frozen = real, .classes = at::arange(4)});
  CHECK_CLOSE(of_compensator, of_images.sum(0, true), 1e-12);
}

TEST_CASE("mirror images have the classes of their images and share their batch",
          "[methods][decoupled]") {
  const Teacher teacher("ConvNet-2-w4-BN", 3);
  const Tensor x = normal(1, {4, 3, 8, 8});
  const auto loss = [&](const Tensor& values, const Tensor& classes, bool mirrored) {
    return recover_gradient({.values = values, .classes = classes}, kView, mirrored,
                            {teacher.voter()}, kWeights)
        .loss.total;
  };
  CHECK(loss(x, at::arange(4), true) ==
        Approx(loss(at::cat({x, x.flip(3)}), at::arange(4).repeat({2}), false)));
}

TEST_CASE("networks without BatchNorm recover where its statistics weigh nothing",
          "[methods][decoupled]") {
  const Teacher teacher("ConvNet-2-w4", 3);
  const auto found = recover_gradient({.values = normal(1, {4, 3, 8, 8}), .classes = at::arange(4)},
                                      kWhole, false, {teacher.voter()}, {});
  CHECK(found.loss.batch_norm == 0);
  CHECK(found.loss.total == Approx(found.loss.cross_entropy));
}

TEST_CASE("priors of images follow from their formulas", "[methods][decoupled]") {
  const Tensor image = at::tensor({1.0, 3.0, 2.0, 7.0}, at::kDouble).view({1, 1, 2, 2});
  // Right: -2, -5; below: -1, -4; diagonals: 1, -6.
  CHECK(total_variation(image).item<double>() == Approx(std::sqrt(29.0) + std::sqrt(17.0) + 1 + 6));
  CHECK(mean_norm(image).item<double>() == Approx(std::sqrt(63.0)));
  CHECK(mean_norm(at::cat({image, 3 * image})).item<double>() == Approx(2 * std::sqrt(63.0)));
  // One norm for the whole batch.
  CHECK(total_variation(at::cat({image, image})).item<double>() ==
        Approx(std::sqrt(2.0) * total_variation(image).item<double>()));
  const Tensor smooth = normal(4, {2, 3, 5, 6});
  CHECK(testing::direction_error(total_variation, smooth) < 1e-6);
  CHECK(testing::direction_error(mean_norm, smooth) < 1e-6);
}

TEST_CASE("the step size falls along half a cosine", "[methods][decoupled]") {
  CHECK(cosine_step_size(0.25, 0, 1000) == 0.25);
  CHECK(cosine_step_size(0.25, 500, 1000) == Approx(0.125));
  CHECK(cosine_step_size(0.25, 999, 1000) > 0);
  CHECK(cosine_step_size(0.25, 1000, 1000) == Approx(0).margin(1e-15));
}

TEST_CASE("the first step of Adam is the sign of the gradient", "[methods][decoupled]") {
  const Tensor values = at::zeros({3}, at::kDouble);
  const Moments moments{at::zeros_like(values), at::zeros_like(values)};
  adam_step(values, moments, at::tensor({3.0, -0.01, 0.0}, at::kDouble), 0.1, 0);
  CHECK_CLOSE(values, at::tensor({-0.1, 0.1, 0.0}, at::kDouble), 1e-5);
  CHECK_CLOSE(moments.first, at::tensor({1.5, -0.005, 0.0}, at::kDouble), 1e-12);
  CHECK_CLOSE(moments.second, at::tensor({0.9, 1e-5, 0.0}, at::kDouble), 1e-12);
}
