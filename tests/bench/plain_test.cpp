#include "lib/train/supervised.h"
#include "methods/gradient_matching/gradient_matching.h"
#include "tests/bench/plain_gradients.h"
#include "tests/bench/plain_matching.h"
#include "tests/bench/plain_training.h"
#include "tests/bench/plain_trajectory.h"
#include "tests/bench/stacked.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::bench;

namespace {

constexpr std::int64_t kClasses = 3;

struct Opponent {
  std::unique_ptr<nn::Network> network = nn::make_network("ConvNet-2-w8", {3, 16, 16}, kClasses);
  nn::NetworkState state = in_float64(network->initialize(Rng(3)));

  Tensor noise(std::int64_t n, std::uint64_t seed) const {
    return Rng(seed).normal_tensor({n, 3, 16, 16}).to(at::kDouble);
  }
};

}  // namespace

TEST_CASE("chunks cover all images, evenly and in even number", "[bench]") {
  for (const std::int64_t n : {1, 32, 33, 100, 256}) {
    const auto chunks = chunks_of(n, Style::Best);
    std::int64_t next = 0;
    for (const Chunk& chunk : chunks) {
      CHECK(chunk.first == next);
      CHECK(chunk.count <= 32);
      next += chunk.count;
    }
    CHECK(next == n);
    CHECK((chunks.size() == 1 || chunks.size() % 2 == 0));
  }
  CHECK(chunks_of(256, Style::Papers).size() == 1);
}

TEST_CASE("both styles of the opponent compute one training gradient", "[bench]") {
  const Opponent it;
  const Tensor images = it.noise(70, 1);
  const Tensor labels = at::arange(70, at::kLong).remainder(kClasses);
  const auto best = plain_gradient(Style::Best, *it.network, it.state, images, labels);
  const auto papers = plain_gradient(Style::Papers, *it.network, it.state, images, labels);
  CHECK(best.loss == Approx(papers.loss).epsilon(1e-12));
  CHECK_CLOSE(nn::flatten(best.gradients), nn::flatten(papers.gradients), 1e-12);
  const auto ours =
      train::batch_gradient(*it.network, it.state, images, data::Labels(data::HardLabels{labels}));
  CHECK_CLOSE(nn::flatten(ours.gradients), nn::flatten(papers.gradients), 1e-12);
}

TEST_CASE("all ways of the opponent compute one matching gradient", "[bench]") {
  const Opponent it;
  std::vector<ClassImages> classes;
  for (std::int64_t c = 0; c < 2; ++c) {
    classes.push_back({c, it.noise(40, std::uint64_t(c)), it.noise(36, std::uint64_t(10 + c))});
  }
  const auto best = plain_image_gradients(Style::Best, *it.network, it.state, classes)[0];
  const auto papers = plain_image_gradients(Style::Papers, *it.network, it.state, classes)[0];
  CHECK_CLOSE(best.images, papers.images, 1e-10);
  CHECK_CLOSE(best.distance, papers.distance, 1e-12);
  const auto one_pass = one_pass_image_gradients(*it.network, it.state, classes);
  CHECK_CLOSE(one_pass.images, papers.images, 1e-10);
  CHECK_CLOSE(one_pass.distance, papers.distance, 1e-12);
}

TEST_CASE("both styles of the opponent compute one gradient and its products", "[bench]") {
  const Opponent it;
  const Tensor images = it.noise(70, 1);
  const Tensor targets = Rng(2).uniform_tensor({70, kClasses}, 0, 1).to(at::kDouble);
  Tensors directions;
  for (const Tensor& p : it.state.parameters) {
    directions.push_back(Rng(3).normal_tensor(p.sizes()).to(at::kDouble));
  }
  const auto best =
      plain_products(Style::Best, *it.network, it.state, images, targets, directions)[0];
  const auto papers =
      plain_products(Style::Papers, *it.network, it.state, images, targets, directions)[0];
  const auto graph = it.network->loss_graph(it.state, images, targets);
  const auto ours = graph->products(directions, {true, true, true});
  CHECK_CLOSE(nn::flatten(best.gradients), nn::flatten(papers.gradients), 1e-12);
  CHECK_CLOSE(nn::flatten(best.gradients), nn::flatten(graph->gradients()), 1e-12);
  for (const auto& other : {best, papers}) {
    CHECK_CLOSE(other.images, ours.images, 1e-10);
    CHECK_CLOSE(other.targets, ours.targets, 1e-10);
    CHECK_CLOSE(nn::flatten(other.parameters), nn::flatten(ours.parameters), 1e-10);
  }
}

TEST_CASE("both styles of the opponent compute one distribution and attention matching gradient",
          "[bench]") {
  using Kind = PlainMatching::Kind;
  constexpr std::int64_t kReal = 40;
  const Opponent it;
  for (const char* name : {"ConvNet-2-w8", "ConvNet-2-BN-w8"}) {
    for (const Kind kind : {Kind::Distribution, Kind::Attention}) {
      CAPTURE(name, kind == Kind::Attention);
      const auto network = nn::make_network(name, {3, 16, 16}, kClasses);
      PlainMatching::Setting setting{.kind = kind,
                                     .network = *network,
                                     .images = it.noise(kClasses * kReal, 1),
                                     .of_class = at::arange(kClasses * kReal).chunk(kClasses),
                                     .batch_real = kReal,
                                     .ipc = 2,
                                     .augmentation = augment::Strategy::parse("flip_crop")};
      const Tensor start = it.noise(2 * kClasses, 2);
      const auto papers = PlainMatching(setting, start, Rng(4)).gradients(0, {0})[0];
      setting.style = Style::Best;
      const auto best = PlainMatching(setting, start, Rng(4)).gradients(0, {0})[0];
      CHECK_CLOSE(best.images, papers.images, 1e-10);
      CHECK_CLOSE(best.loss, papers.loss, 1e-12);
    }
  }
}

// Central differences of the loss, which the opponent computes without its graph of gradients.
TEST_CASE("the opponent's trajectory matching has the gradient of its loss", "[bench]") {
  const Opponent it;
  InnerRun run{.start = it.state,
               .target = in_float64(it.network->initialize(Rng(4))).parameters,
               .images = it.noise(5, 1),
               .labels = at::arange(5, at::kLong).remainder(kClasses),
               .batches = {at::arange(3, at::kLong), at::arange(5, at::kLong)},
               .draws = std::vector<augment::Draw>(2),
               .lr = 0.05};
  const auto found = plain_trajectory_gradient(*it.network, run);
  constexpr double kStep = 1e-5;
  const auto slope = [&](const std::function<void(double)>& move) {
    move(kStep);
    const double above = plain_trajectory_gradient(*it.network, run).loss.item<double>();
    move(-2 * kStep);
    const double below = plain_trajectory_gradient(*it.network, run).loss.item<double>();
    move(kStep);
    return (above - below) / (2 * kStep);
  };
  CHECK(slope([&](double by) { run.lr += by; }) == Approx(found.lr.item<double>()).epsilon(1e-6));
  const Tensor direction = it.noise(5, 2);
  CHECK(slope([&](double by) { run.images = run.images + by * direction; }) ==
        Approx((found.images * direction).sum().item<double>()).epsilon(1e-6));
}
