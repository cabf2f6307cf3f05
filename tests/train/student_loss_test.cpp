// What a student descends: closed forms against autograd and differences, and through the loop.
#include "lib/train/student_loss.h"

#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/train/supervised.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using train::StudentLoss;
using train::Targets;
using Kind = StudentLoss::Kind;

namespace {

constexpr std::int64_t kImages = 6;
constexpr std::int64_t kClasses = 5;

Tensor numbers(std::uint64_t seed, std::int64_t rows = kImages) {
  return Rng(seed).normal_tensor({rows, kClasses}).mul(3).to(at::kDouble);
}

struct Case {
  const char* name;
  StudentLoss loss;
  Targets targets;
};

std::vector<Case> cases(std::int64_t rows = kImages) {
  const Tensor probabilities = numbers(7, rows).softmax(1);
  const Tensor logits = numbers(8, rows);
  return {{"cross-entropy", {}, {probabilities, {}}},
          {"kl", {.kind = Kind::Divergence, .temperature = 20}, {logits, {}}},
          {"kl, squared",
           {.kind = Kind::Divergence, .temperature = 4, .temperature_squared = true},
           {logits, {}}},
          {"mse-ce", {.kind = Kind::SquaredError, .hard_weight = 0.15}, {logits, probabilities}},
          {"retention",
           {.kind = Kind::Retention, .temperature = 2},
           {probabilities, {}, logits.narrow(1, 0, 3)}}};
}

/// The same written with the operations of LibTorch, summed over images.
Tensor by_definition(const Case& c, const Tensor& student) {
  const Tensor log_q = student.log_softmax(1);
  switch (c.loss.kind) {
    case Kind::CrossEntropy:
      return -(c.targets.values * log_q).sum();
    case Kind::Divergence: {
      const double tau = c.loss.temperature;
      return at::kl_div((student / tau).log_softmax(1), (c.targets.values / tau).log_softmax(1),
                        at::Reduction::Sum, /*log_target=*/true) *
             (c.loss.temperature_squared ? tau * tau : 1.0);
    }
    case Kind::SquaredError:
      return (student - c.targets.values).square().mean(1).sum() -
             c.loss.hard_weight * (c.targets.classes * log_q).sum();
    case Kind::Retention: {
      // Kim et al. (2022): T^2 * (old classes) * KL averaged over all elements, here not over
      // images.
      const double tau = c.loss.temperature;
      const auto known = c.targets.earlier.size(1);
      const Tensor all = at::kl_div((student.narrow(1, 0, known) / tau).log_softmax(1),
                                    (c.targets.earlier / tau).softmax(1), at::Reduction::None);
      return all.mean(1).sum() * tau * tau * double(known) - (c.targets.values * log_q).sum();
    }
  }
  return {};
}

nn::NetworkState in_double(const nn::Network& network) {
  nn::NetworkState state = network.initialize(Rng(1));
  for (auto* list : {&state.parameters, &state.buffers}) {
    for (auto& tensor : *list) tensor = tensor.to(at::kDouble);
  }
  return state;
}

double largest_difference(const Tensors& a, const Tensors& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>());
  }
  return largest;
}

}  // namespace

TEST_CASE("losses of students and their gradients are those of their definitions",
          "[train][student]") {
  for (const Case& c : cases()) {
    INFO(c.name);
    const Tensor student = numbers(9);
    const auto found = train::student_loss(c.loss, student, c.targets);
    const at::AutoGradMode gradients(true);
    const Tensor x = student.clone().requires_grad_();
    const Tensor value = by_definition(c, x);
    CHECK(found.loss == Approx(value.item<double>()).epsilon(1e-12));
    CHECK_CLOSE(found.gradient, torch::autograd::grad({value}, {x})[0], 1e-12);
  }
}

TEST_CASE("no student diverges from a teacher that predicts the same", "[train][student]") {
  const Tensor teacher = numbers(8);
  for (const double tau : {1.0, 4.0, 20.0}) {
    const StudentLoss loss{.kind = Kind::Divergence, .temperature = tau};
    // A constant added to all logits of an image predicts the same.
    CHECK(std::abs(train::student_loss(loss, teacher + 2, {teacher, {}}).loss) < 1e-12);
    CHECK(train::student_loss(loss, numbers(9), {teacher, {}}).loss > 0);
  }
}

TEST_CASE("gradients of students' losses pass the check by differences", "[train][student]") {
  constexpr double kStep = 1e-5;
  const Tensor direction = numbers(10);
  for (const Case& c : cases()) {
    INFO(c.name);
    const Tensor student = numbers(9);
    const auto loss_at = [&](double step) {
      return train::student_loss(c.loss, student + step * direction, c.targets).loss;
    };
    const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    const auto gradient = train::student_loss(c.loss, student, c.targets).gradient;
    CHECK((gradient * direction).sum().item<double>() == Approx(slope).epsilon(1e-7));
  }
}

TEST_CASE("a mini-batch is descended by the mean of any loss, in chunks or whole",
          "[train][student]") {
  constexpr std::int64_t kRows = 40;  // several chunks
  for (const char* name : {"ConvNet-1-w8", "ConvNet-1-BN-w8"}) {
    const auto network = nn::make_network(name, {1, 8, 8}, kClasses);
    const auto state = in_double(*network);
    const Tensor images = Rng(2).normal_tensor({kRows, 1, 8, 8}).to(at::kDouble);
    for (const Case& c : cases(kRows)) {
      INFO(name << ", " << c.name);
      const auto found = train::batch_gradient(*network, state, images, c.targets, c.loss, 0);
      const at::AutoGradMode gradients(true);
      nn::NetworkState leaves = state.detached_clone();
      for (auto& p : leaves.parameters) p.requires_grad_();
      const Tensor logits = network->forward(leaves, images, {.mode = nn::Mode::Train}).logits;
      const Tensor value = by_definition(c, logits) / double(kRows);
      CHECK(found.loss == Approx(value.item<double>()).epsilon(1e-11));
      CHECK(largest_difference(found.gradients, torch::autograd::grad({value}, leaves.parameters)) <
            1e-11);
    }
  }
}

TEST_CASE("BatchNorm sees groups of a mini-batch, the loss is the mean over all of it",
          "[train][student]") {
  const auto network = nn::make_network("ConvNet-1-BN-w8", {1, 8, 8}, kClasses);
  const Tensor images = Rng(2).normal_tensor({20, 1, 8, 8}).to(at::kDouble);
  const Case c = cases(20)[1];
  auto grouped = in_double(*network);
  auto one_by_one = in_double(*network);
  const auto found = train::batch_gradient(*network, grouped, images, c.targets, c.loss, 8);
  double loss = 0;
  Tensors sum;
  for (const auto& [begin, count] : {std::pair(0, 8), std::pair(8, 8), std::pair(16, 4)}) {
    const auto part = train::batch_gradient(*network, one_by_one, images.narrow(0, begin, count),
                                            c.targets.rows(begin, count), c.loss, 0);
    loss += part.loss * count / 20;
    for (std::size_t i = 0; i < part.gradients.size(); ++i) {
      const Tensor share = part.gradients[i] * (double(count) / 20);
      if (sum.size() <= i)
        sum.push_back(share);
      else
        sum[i].add_(share);
    }
  }
  CHECK(found.loss == Approx(loss).epsilon(1e-12));
  CHECK(largest_difference(found.gradients, sum) < 1e-12);
  CHECK(largest_difference(grouped.buffers, one_by_one.buffers) < 1e-12);
}

TEST_CASE("losses of students that cannot be are refused", "[train][student]") {
  CHECK_THROWS_WITH_TEXT(train::check_loss({.temperature = 0}), ConfigError,
                         "a temperature above 0 and a weight of classes of 0 or more, found 0");
  CHECK_THROWS_WITH_TEXT(train::check_loss({.hard_weight = -1}), ConfigError, "and -1");
  const auto network = nn::make_network(testing::kTinyNet, {1, 8, 8}, 3);
  const train::TensorData data(testing::training_images(testing::separable_dataset(4, 1)));
  train::TrainOptions options;
  options.loss.kind = Kind::Divergence;
  options.penalty = 1;
  CHECK_THROWS_WITH_TEXT(train::Training(*network, data, options, Rng(0)), ConfigError,
                         "go with cross-entropy");
}
