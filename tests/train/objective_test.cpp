// What a step descends beyond the cross-entropy: GSAM, penalties of gradient and curvature, a
// factor of the loss.

#include <cmath>
#include <optional>
#include <utility>

#include <torch/csrc/autograd/autograd.h>

#include "lib/train/curvature.h"
#include "lib/train/gradient_penalty.h"
#include "lib/train/gsam.h"
#include "lib/train/supervised.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using data::HardLabels;
using data::LabelledImages;

namespace {

/// A network in float64 and a mini-batch of RGB images for it.
struct Setup {
  std::unique_ptr<nn::Network> network;
  nn::NetworkState state;
  LabelledImages batch;
};

Setup float64_setup(const std::string& name, std::int64_t images) {
  Setup s;
  s.network = nn::make_network(name, {3, 8, 8}, 4);
  s.state = s.network->initialize(Rng(1));
  for (auto* list : {&s.state.parameters, &s.state.buffers}) {
    for (auto& tensor : *list) tensor = tensor.to(at::kDouble);
  }
  s.batch.images = Rng(2).normal_tensor({images, 3, 8, 8}).to(at::kDouble);
  s.batch.labels = HardLabels{at::arange(images, at::kLong).remainder(4)};
  return s;
}

Tensor loss_at(const Setup& s, const Tensor& flat) {
  nn::NetworkState state{nn::unflatten(flat, s.network->parameters()), s.state.buffers};
  const Tensor log_p =
      s.network->forward(state, s.batch.images, {.mode = nn::Mode::Train, .second_order = true})
          .logits.log_softmax(1);
  return -log_p.gather(1, data::hard_classes(s.batch.labels).unsqueeze(1)).mean();
}

/// (|| dz/dx || - 1)^2 pixel by pixel, for the whole batch at once.
Tensor penalty_at(const Setup& s, const Tensor& flat) {
  nn::NetworkState state{nn::unflatten(flat, s.network->parameters()), s.state.buffers};
  const Tensor x = s.batch.images.clone().requires_grad_();
  const Tensor z =
      s.network->forward(state, x, {.mode = nn::Mode::Train, .second_order = true}).logits;
  const Tensor q = torch::autograd::grad({z.sum()}, {x}, {}, true, true)[0];
  return (q.square().sum(1).sqrt() - 1).square().mean();
}

Tensor gradient_of(const Setup& s, Tensor (*f)(const Setup&, const Tensor&),
                   const Tensor& at_flat) {
  const at::AutoGradMode gradients_on(true);
  const Tensor flat = at_flat.detach().clone().requires_grad_();
  return torch::autograd::grad({f(s, flat)}, {flat})[0];
}

Tensor one_hot(const Setup& s) {
  return train::target_probabilities(s.batch.labels, 4, at::kDouble);
}

/// Gradients of the mean cross-entropy at x, on running statistics: [N,C,H,W].
Tensor image_gradient(const Setup& s, const Tensor& flat, const Tensor& at_x) {
  const at::AutoGradMode gradients_on(true);
  const nn::NetworkState state{nn::unflatten(flat, s.network->parameters()), s.state.buffers};
  const Tensor x = at_x.detach().clone().requires_grad_();
  const Tensor log_p = s.network->forward(state, x, {.second_order = true}).logits.log_softmax(1);
  return torch::autograd::grad({-(one_hot(s) * log_p).sum() / x.size(0)}, {x})[0];
}

/// GUARD's regulariser with the steps z at hand, by plain differences.
double curvature_at(const Setup& s, const Tensor& flat, const Tensor& z,
                    const train::Curvature& curvature) {
  const Tensor& x = s.batch.images;
  if (curvature.kind == train::Curvature::Kind::Full) {
    const Tensor turn = image_gradient(s, flat, x + z) - image_gradient(s, flat, x);
    return curvature.weight * turn.flatten(1).norm(2, 1).mean().item<double>();
  }
  const nn::NetworkState state{nn::unflatten(flat, s.network->parameters()), s.state.buffers};
  const auto loss = [&](const Tensor& images) {
    const Tensor log_p = s.network->forward(state, images).logits.log_softmax(1);
    return -(one_hot(s) * log_p).sum().item<double>() / double(images.size(0));
  };
  return curvature.weight * std::abs(loss(x + z) - loss(x));
}

double length(const Tensor& a) { return a.norm().item<double>(); }

}  // namespace

TEST_CASE("a step of GSAM is the written-out one, relative or not", "[train][gsam]") {
  for (const bool adaptive : {true, false}) {
    INFO("adaptive " << adaptive);
    Setup s = float64_setup("ConvNet-2-w8-swish", 40);
    const train::Gsam gsam{.rho = 0.05, .alpha = 0.4, .adaptive = adaptive};
    const Tensor w = nn::flatten(s.state.parameters).clone();
    const Tensor g0 = gradient_of(s, loss_at, w);
    const Tensor e =
        adaptive ? w * w * g0 * (gsam.rho / length(w.abs() * g0)) : g0 * (gsam.rho / length(g0));
    const Tensor g1 = gradient_of(s, loss_at, w + e);
    const double cosine = (g0 * g1).sum().item<double>() / (length(g0) * length(g1));
    const Tensor across = g0 - cosine * length(g0) * g1 / length(g1);
    const Tensor expected = w - 0.1 * (g1 - gsam.alpha * across);

    train::TrainOptions options;
    options.gsam = gsam;
    train::Sgd sgd(0, 0);
    const auto report = train::train_step(*s.network, s.state, sgd, 0.1, s.batch, options, Rng(0));
    CHECK_CLOSE(nn::flatten(s.state.parameters), expected, 1e-11);
    CHECK(report.loss == Approx(loss_at(s, w).item<double>()).epsilon(1e-12));
  }
}

TEST_CASE("GSAM without a perturbation is the gradient", "[train][gsam]") {
  const Tensors g{at::tensor({3.0, -4.0}, at::kDouble), at::tensor({1.0}, at::kDouble)};
  const Tensors none = train::gsam_perturbation(g, g, {.rho = 0, .alpha = 1, .adaptive = true});
  CHECK_CLOSE(nn::flatten(none), at::zeros({3}, at::kDouble), 0);
  CHECK_CLOSE(nn::flatten(train::gsam_direction(g, g, 0.7)), nn::flatten(g), 1e-12);
}

TEST_CASE("networks with BatchNorm see one pass per step of GSAM", "[train][gsam]") {
  Setup plain = float64_setup("ConvNet-1-BN-w8", 8);
  Setup flat = float64_setup("ConvNet-1-BN-w8", 8);
  train::Sgd sgd(0, 0);
  train::TrainOptions options;
  train::train_step(*plain.network, plain.state, sgd, 0.1, plain.batch, options, Rng(0));
  options.gsam = train::Gsam{};
  options.penalty = 1;
  train::train_step(*flat.network, flat.state, sgd, 0.1, flat.batch, options, Rng(0));
  CHECK_FALSE(same_bits(plain.state.parameters, flat.state.parameters));
  CHECK(same_bits(plain.state.buffers, flat.state.buffers));
}

TEST_CASE("the gradient penalty's gradient agrees with central differences", "[train][penalty]") {
  for (const std::string name :
       {"ConvNet-2-w8-swish", "ConvNet-1-NN-w8-sigmoid", "ConvNet-1-LN-w8-swish"}) {
    for (const std::int64_t images : {3, 40}) {  // whole, and in chunks
      INFO(name << ", " << images << " images");
      const Setup s = float64_setup(name, images);
      const auto found = train::gradient_penalty(*s.network, s.state, s.batch.images);
      const Tensor w = nn::flatten(s.state.parameters);
      CHECK(found.value == Approx(penalty_at(s, w).item<double>()).epsilon(1e-12));
      const Tensor v = Rng(3).normal_tensor(w.sizes()).to(at::kDouble);
      const double h = 1e-5;
      const double numeric =
          (penalty_at(s, w + h * v) - penalty_at(s, w - h * v)).item<double>() / (2 * h);
      const double exact = (nn::flatten(found.gradients) * v).sum().item<double>();
      CHECK(exact == Approx(numeric).epsilon(1e-6));
    }
  }
}

TEST_CASE("the curvature penalty is the written-out one, its gradient agrees with differences",
          "[train][curvature]") {
  using Kind = train::Curvature::Kind;
  for (const std::string name : {"ConvNet-2-w8-swish", "ConvNet-1-BN-w8-sigmoid"}) {
    for (const std::int64_t images : {3, 40}) {  // whole, and in chunks
      for (const Kind kind : {Kind::Full, Kind::Simplified}) {
        INFO(name << ", " << images << " images, " << (kind == Kind::Full ? "full" : "simplified"));
        const Setup s = float64_setup(name, images);
        const train::Curvature curvature{.kind = kind, .h = 2, .weight = 3};
        const Tensor z =
            train::curvature_steps(*s.network, s.state, s.batch.images, one_hot(s), curvature.h);
        const auto found =
            train::curvature_penalty(*s.network, s.state, s.batch.images, one_hot(s), curvature);
        const Tensor w = nn::flatten(s.state.parameters);
        CHECK(found.value == Approx(curvature_at(s, w, z, curvature)).epsilon(1e-9));
        const Tensor v = Rng(3).normal_tensor(w.sizes()).to(at::kDouble);
        const double e = 1e-5;
        const double numeric =
            (curvature_at(s, w + e * v, z, curvature) - curvature_at(s, w - e * v, z, curvature)) /
            (2 * e);
        const double exact = (nn::flatten(found.gradients) * v).sum().item<double>();
        CHECK(exact == Approx(numeric).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("steps to look at curvature follow every image's gradient, and grow with h alone",
          "[train][curvature]") {
  const Setup s = float64_setup("ConvNet-2-w8-swish", 6);
  const auto steps = [&](double h) {
    return train::curvature_steps(*s.network, s.state, s.batch.images, one_hot(s), h);
  };
  const Tensor z = steps(1.5);
  const Tensor lengths = z.flatten(1).norm(2, 1);
  CHECK_CLOSE(lengths, at::full({6}, 1.5, at::kDouble), 1e-3);  // 1e-7 in both halves of the ratio
  CHECK_CLOSE(steps(3), 2 * z, 1e-12);
  const Tensor g = image_gradient(s, nn::flatten(s.state.parameters), s.batch.images);
  const Tensor cosine = (g.flatten(1) * z.flatten(1)).sum(1) / (g.flatten(1).norm(2, 1) * lengths);
  CHECK_CLOSE(cosine, at::ones({6}, at::kDouble), 1e-3);
}

TEST_CASE("a step adds the curvature penalty of the augmented images, and none of weight 0",
          "[train][curvature]") {
  const Setup s = float64_setup("ConvNet-1-BN-w8", 8);
  const augment::Strategy strategy = augment::Strategy::parse("crop");
  Rng draws = Rng(0).child("augment");
  const Tensor augmented = augment::augment_batch(strategy, s.batch.images, draws);
  REQUIRE_FALSE(augmented.equal(s.batch.images));
  const auto stepped = [&](const std::optional<train::Curvature>& curvature) {
    Setup own = float64_setup("ConvNet-1-BN-w8", 8);
    train::TrainOptions options;
    options.augmentation = strategy;
    options.curvature = curvature;
    train::Sgd sgd(0, 0);
    const auto report =
        train::train_step(*own.network, own.state, sgd, 0.1, own.batch, options, Rng(0));
    return std::pair(own.state, report.penalty);
  };
  const auto [plain, none] = stepped(std::nullopt);
  CHECK(none == 0);
  const auto [idle, nothing] = stepped(train::Curvature{.weight = 0});
  CHECK(nothing == 0);
  CHECK(same_bits(plain.parameters, idle.parameters));

  const auto [bent, penalty] = stepped(train::Curvature{.weight = 10});
  CHECK(same_bits(plain.buffers, bent.buffers));  // one training pass moves them
  const nn::NetworkState moved{s.state.parameters, plain.buffers};
  const auto expected =
      train::curvature_penalty(*s.network, moved, augmented, one_hot(s), {.weight = 10});
  CHECK(penalty == Approx(expected.value).epsilon(1e-12));
  CHECK_CLOSE(nn::flatten(plain.parameters) - nn::flatten(bent.parameters),
              0.1 * nn::flatten(expected.gradients), 1e-9);
}

TEST_CASE("AST's step descends the scaled loss and the penalty of plain images", "[train][ast]") {
  Setup s = float64_setup("ConvNet-2-w8", 40);
  const Tensor w = nn::flatten(s.state.parameters).clone();
  const Tensor decayed =
      0.55 * gradient_of(s, loss_at, w) + 2 * gradient_of(s, penalty_at, w) + 1e-3 * w;
  train::TrainOptions options;
  options.loss_factor = 0.55;
  options.penalty = 2;
  train::Sgd sgd(0.9, 1e-3);
  auto plain = s.state.detached_clone();
  const auto report = train::train_step(*s.network, plain, sgd, 0.1, s.batch, options, Rng(0));
  CHECK_CLOSE(nn::flatten(plain.parameters), w - 0.1 * decayed, 1e-11);
  CHECK(report.penalty == Approx(penalty_at(s, w).item<double>()).epsilon(1e-12));
  CHECK(report.loss == Approx(loss_at(s, w).item<double>()).epsilon(1e-12));

  // The penalty does not see the augmentation; the loss does.
  options.augmentation = augment::Strategy::of("color_crop", "mtt");
  train::Sgd other(0.9, 1e-3);
  const auto augmented =
      train::train_step(*s.network, s.state, other, 0.1, s.batch, options, Rng(0));
  CHECK(augmented.penalty == report.penalty);
  CHECK(augmented.loss != report.loss);
}

TEST_CASE("a training scales the loss epoch by epoch", "[train][ast]") {
  const auto dataset = separable_dataset(15, 1);
  const auto network = nn::make_network(kTinyNet, dataset.shape(), dataset.num_classes());
  train::TrainOptions options{.epochs = 3, .lr = 0.05, .momentum = 0, .weight_decay = 0};
  options.shuffle = false;
  options.first_loss_factors = {0.25, 0.5};
  auto scaled = network->initialize(Rng(1));
  auto by_hand = scaled.detached_clone();
  const train::DatasetData data(dataset, data::Split::Train);
  train::train(*network, scaled, data, options, Rng(2));

  train::Sgd sgd(0, 0);
  const auto batch = training_images(dataset);
  for (const double lr : {0.25 * 0.05, 0.5 * 0.05, 0.05}) {
    train::train_step(*network, by_hand, sgd, lr, batch, {}, Rng(0));
  }
  CHECK_CLOSE(nn::flatten(scaled.parameters), nn::flatten(by_hand.parameters), 1e-6);
}
