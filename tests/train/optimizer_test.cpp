// Optimisers and schedules of step sizes.
#include <cmath>
#include <numbers>
#include <vector>

#include "lib/core/error.h"
#include "lib/train/supervised.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using train::TrainOptions;

namespace {

Tensor one(double x) { return at::full({1}, x, at::kDouble); }

/// The gradients of four steps.
const std::vector<double> kGradients = {0.5, -0.2, 0.3, 0.05};

/// Adam's displacement in step t by the sums that its recursions stand for.
double adam_displacement(const std::vector<double>& gradients, std::size_t t, double beta1,
                         double beta2) {
  double first = 0;
  double second = 0;
  for (std::size_t i = 0; i <= t; ++i) {
    const double age = double(t - i);
    first += (1 - beta1) * std::pow(beta1, age) * gradients[i];
    second += (1 - beta2) * std::pow(beta2, age) * gradients[i] * gradients[i];
  }
  first /= 1 - std::pow(beta1, double(t + 1));
  second /= 1 - std::pow(beta2, double(t + 1));
  return first / (std::sqrt(second) + 1e-8);
}

}  // namespace

TEST_CASE("SGD follows PyTorch's formula on numbers worked out by hand", "[train][sgd]") {
  const auto one = [](double x) { return at::full({1}, x, at::kDouble); };
  Tensors w{one(1.0)};
  train::Sgd sgd(0.9, 0.1);
  sgd.step(w, {one(0.5)}, 0.1);  // v = 0.5 + 0.1*1 = 0.6
  CHECK(w[0].item<double>() == Approx(0.94).epsilon(1e-12));
  sgd.step(w, {one(0.2)}, 0.1);  // v = 0.54 + 0.2 + 0.094 = 0.834
  CHECK(w[0].item<double>() == Approx(0.8566).epsilon(1e-12));
  CHECK(sgd.velocity()[0].item<double>() == Approx(0.834).epsilon(1e-12));
  sgd.reset();
  sgd.step(w, {one(0.2)}, 0.1);  // v = 0.2 + 0.08566
  CHECK(w[0].item<double>() == Approx(0.828034).epsilon(1e-12));

  Tensors plain{one(1.0)};
  train::Sgd no_momentum(0, 0.1);
  no_momentum.step(plain, {one(0.5)}, 0.1);
  CHECK(plain[0].item<double>() == Approx(0.94).epsilon(1e-12));
  CHECK(no_momentum.velocity().empty());
}

TEST_CASE("Adam takes the steps of its formula, weight decay in the gradient", "[train][adam]") {
  for (const double decay : {0.0, 0.1}) {
    Tensors w{one(1.0)};
    train::Adam adam({.beta1 = 0.5, .beta2 = 0.9, .weight_decay = decay});
    double expected = 1;
    std::vector<double> gradients;
    for (std::size_t t = 0; t < kGradients.size(); ++t) {
      gradients.push_back(kGradients[t] + decay * expected);
      expected -= 0.1 * adam_displacement(gradients, t, 0.5, 0.9);
      adam.step(w, {one(kGradients[t])}, 0.1);
      CHECK(w[0].item<double>() == Approx(expected).epsilon(1e-12));
    }
    adam.reset();
    adam.step(w, {one(-7)}, 0.1);  // a first step is one of lr against the sign
    const double sign = -7 + decay * expected > 0 ? 1 : -1;
    CHECK(w[0].item<double>() == Approx(expected - 0.1 * sign).epsilon(1e-7));
  }
}

TEST_CASE("AdamW shrinks the parameters that decay, and leaves the gradient alone",
          "[train][adam]") {
  Tensors w{one(1.0), one(1.0)};
  train::Adam adam({.weight_decay = 0.2, .decoupled = true, .decays = {true, false}});
  double decayed = 1;
  double plain = 1;
  for (std::size_t t = 0; t < kGradients.size(); ++t) {
    const double displacement = 0.1 * adam_displacement(kGradients, t, 0.9, 0.999);
    decayed = decayed * (1 - 0.1 * 0.2) - displacement;
    plain -= displacement;
    adam.step(w, {one(kGradients[t]), one(kGradients[t])}, 0.1);
    CHECK(w[0].item<double>() == Approx(decayed).epsilon(1e-12));
    CHECK(w[1].item<double>() == Approx(plain).epsilon(1e-12));
  }
}

TEST_CASE("step sizes follow cosine, line, warm-up and drops", "[train][schedule]") {
  using Schedule = TrainOptions::Schedule;
  TrainOptions options{.epochs = 8};
  CHECK(train::lr_factor(options, 7) == 1);

  options.schedule = Schedule::Cosine;
  CHECK(train::lr_factor(options, 0) == 1);
  CHECK(train::lr_factor(options, 4) == Approx(0.5).epsilon(1e-12));
  CHECK(train::lr_factor(options, 7) ==
        Approx(0.5 * (1 + std::cos(std::numbers::pi * 7 / 8))).epsilon(1e-12));
  options.smoothing = 2;  // a quarter of the wave in all
  CHECK(train::lr_factor(options, 4) == Approx(0.5 + std::sqrt(0.125)).epsilon(1e-12));

  options.schedule = Schedule::Linear;
  CHECK(train::lr_factor(options, 6) == Approx(0.25).epsilon(1e-12));

  options.warmup_epochs = 3;
  CHECK(train::lr_factor(options, 0) == Approx(0.01).epsilon(1e-12));
  CHECK(train::lr_factor(options, 1) == Approx(0.01 + 0.33).epsilon(1e-12));
  CHECK(train::lr_factor(options, 3) == 1);
  CHECK(train::lr_factor(options, 5) == Approx(0.6).epsilon(1e-12));
  options.drops = {{.after_epoch = 4, .factor = 0.5}};
  CHECK(train::lr_factor(options, 4) == Approx(0.8).epsilon(1e-12));
  CHECK(train::lr_factor(options, 5) == Approx(0.3).epsilon(1e-12));
}

TEST_CASE("only weights decay on request, and every optimiser learns separable images",
          "[train][adam]") {
  const auto dataset = separable_dataset(20, 1);
  const auto network = nn::make_network(kTinyNet, dataset.shape(), dataset.num_classes());
  const train::TensorData data(training_images(dataset));
  for (const auto method : {TrainOptions::Method::Adam, TrainOptions::Method::AdamW}) {
    TrainOptions options{.epochs = 12, .lr = 0.01, .batch_size = 20};
    options.method = method;
    options.schedule = TrainOptions::Schedule::Cosine;
    auto state = network->initialize(Rng(1));
    double accuracy = 0;
    train::train(*network, state, data, options, Rng(2), [&](const train::EpochReport& report) {
      accuracy = report.accuracy;
      return true;
    });
    CHECK(accuracy > 0.9);
  }

  // Without a gradient there is decay alone: one step of size 0.1 with decay 0.5.
  const std::vector<bool> is_weight = [&] {
    std::vector<bool> found;
    for (const auto& p : network->parameters()) found.push_back(p.shape.size() > 1);
    return found;
  }();
  const auto before = network->initialize(Rng(1));
  const auto decayed = [&](TrainOptions::Decays decays) {
    TrainOptions options{.epochs = 1, .lr = 0.1, .weight_decay = 0.5, .batch_size = 60};
    options.method = TrainOptions::Method::AdamW;
    options.decays = decays;
    options.loss_factor = 0;
    auto state = before.detached_clone();
    train::train(*network, state, data, options, Rng(2));
    return state.parameters;
  };
  const Tensors all = decayed(TrainOptions::Decays::All);
  const Tensors weights = decayed(TrainOptions::Decays::Weights);
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK_CLOSE(all[i], before.parameters[i] * 0.95, 1e-6);
    CHECK_CLOSE(weights[i], before.parameters[i] * (is_weight[i] ? 0.95 : 1.0), 1e-6);
  }
}

TEST_CASE("schedules that cannot be are refused", "[train][schedule]") {
  const auto dataset = separable_dataset(2, 1);
  const auto network = nn::make_network(kTinyNet, dataset.shape(), dataset.num_classes());
  const train::TensorData data(training_images(dataset));
  const auto refused = [&](const TrainOptions& options, const std::string& text) {
    CHECK_THROWS_WITH_TEXT(train::Training(*network, data, options, Rng(0)), ConfigError, text);
  };
  TrainOptions options{.epochs = 3};
  options.warmup_epochs = 4;
  refused(options, "expected 0 .. as many of them to warm up, found 4");
  options.warmup_epochs = 0;
  options.smoothing = 0;
  refused(options, "a smoothing above 0, found 0");
  options.smoothing = 1;
  options.decays = TrainOptions::Decays::Weights;
  refused(options, "weights alone needs Adam or AdamW");
  options.method = TrainOptions::Method::Adam;
  options.drops = {{.after_epoch = 1, .momentum = 0.5}};
  refused(options, "needs SGD");
}
