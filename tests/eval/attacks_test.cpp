#include "lib/eval/attacks.h"

#include "lib/core/error.h"
#include "lib/eval/evaluator.h"
#include "lib/train/supervised.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using eval::Attack;

namespace {

/// A network that has learned the bands, and these. Pixels and their state in float64: losses of
/// images that it is sure of are far below what float32 tells from 0.
struct Learned {
  data::ImageDataset dataset = separable_dataset(40, 1);
  std::unique_ptr<nn::Network> network =
      nn::make_network(kTinyNet, dataset.shape(), dataset.num_classes());
  nn::NetworkState state = network->initialize(Rng(1));
  nn::NetworkState fine;
  Tensor pixels;
  Tensor labels;

  Learned() {
    train::train(*network, state, train::DatasetData(dataset, data::Split::Train),
                 {.epochs = 10, .lr = 0.05, .batch_size = 20}, Rng(2));
    const Tensor rows = at::arange(50, at::kLong);
    pixels = dataset.pixels(data::Split::Test, rows).to(at::kDouble).div(255);
    labels = dataset.labels(data::Split::Test).index_select(0, rows);
    for (const Tensor& p : state.parameters) fine.parameters.push_back(p.to(at::kDouble));
  }

  Tensor losses(const Tensor& images) const {
    const Tensor x = dataset.preprocessing().apply(images);
    return -network->forward(fine, x).logits.log_softmax(1).gather(1, labels.unsqueeze(1));
  }
  double robust(const Attack& attack, std::uint64_t seed = 3) const {
    return eval::robust_accuracy(*network, state, dataset, data::Split::Test, attack, Rng(seed));
  }
};

}  // namespace

TEST_CASE("attacked images stay in reach and among images, and raise the loss", "[eval][attacks]") {
  const Learned l;
  for (const Attack::Kind kind : {Attack::Kind::Fgsm, Attack::Kind::Pgd}) {
    const Attack attack{.kind = kind, .radius = 0.1};
    const Tensor x = eval::attacked(*l.network, l.fine, l.dataset.preprocessing(), l.pixels,
                                    l.labels, attack, Rng(3));
    CHECK((x - l.pixels).abs().max().item<double>() <= 0.1 + 1e-12);
    CHECK(x.min().item<double>() >= 0);
    CHECK(x.max().item<double>() <= 1);
    CHECK(l.losses(x).gt(l.losses(l.pixels)).to(at::kFloat).mean().item<float>() > 0.95f);
  }
}

TEST_CASE("FGSM moves every pixel by the radius, up its own gradient", "[eval][attacks]") {
  const Learned l;
  const double e = 1e-3;
  const Tensor inside = l.pixels.clamp(0.3, 0.7);
  const Tensor x = eval::attacked(*l.network, l.fine, l.dataset.preprocessing(), inside, l.labels,
                                  {.kind = Attack::Kind::Fgsm, .radius = e}, Rng(3));
  const Tensor moved = (x - inside).abs();
  const Tensor still = moved.lt(e / 2);
  CHECK(still.to(at::kFloat).mean().item<float>() < 0.2f);  // only where the gradient vanishes
  CHECK_CLOSE(moved.masked_select(still.logical_not()),
              at::full({still.logical_not().sum().item<std::int64_t>()}, e, at::kDouble), 1e-9);
  // To first order no other step of this size raises the losses more: random signs do not.
  Rng rng(4);
  const Tensor random =
      inside + e * rng.uniform_tensor(inside.sizes(), -1, 1).sign().to(at::kDouble);
  CHECK(l.losses(x).gt(l.losses(random)).to(at::kFloat).mean().item<float>() > 0.95f);
}

TEST_CASE("accuracy falls with the radius, from that of clean images to nothing",
          "[eval][attacks]") {
  const Learned l;
  const double clean = eval::test(*l.network, l.state, l.dataset, data::Split::Test).accuracy;
  REQUIRE(clean > 90);
  CHECK(l.robust({.radius = 0}) == Approx(clean).epsilon(1e-12));
  double before = clean;
  for (const double radius : {0.02, 0.1, 0.3}) {
    const double found = l.robust({.radius = radius});
    CHECK(found <= before);
    before = found;
  }
  CHECK(l.robust({.radius = 0.9, .steps = 20}) < 5);
  // Ten steps from two starts find at least what one step finds, but for a few images.
  const double fgsm = l.robust({.kind = Attack::Kind::Fgsm, .radius = 0.1});
  CHECK(l.robust({.radius = 0.1}) <= fgsm + 2);
  CHECK(l.robust({.radius = 0.1, .restarts = 5}) <= l.robust({.radius = 0.1, .restarts = 1}));
}

TEST_CASE("attacks are the same on one thread and two", "[eval][attacks][reproducible]") {
  const Learned l;
  const auto accuracy = [&](std::int64_t threads) {
    const WithThreads with(threads);
    return l.robust({.radius = 0.1});
  };
  CHECK(accuracy(1) == accuracy(2));
}

TEST_CASE("attacks that cannot be are refused", "[eval][attacks]") {
  const Learned l;
  CHECK_THROWS_WITH_TEXT(l.robust({.radius = 2}), ConfigError, "a radius in 0 .. 1");
  CHECK_THROWS_WITH_TEXT(l.robust({.radius = 0.1, .steps = 0}), ConfigError, "found 0.1, 0, 0");
  CHECK_THROWS_WITH_TEXT(Attack::parse("fgms"), ConfigError, "did you mean 'fgsm'?");
}
