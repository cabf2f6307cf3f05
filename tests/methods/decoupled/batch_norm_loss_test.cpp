#include "methods/decoupled/batch_norm_loss.h"

#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::methods::decoupled;
using nn::BatchStatistics;

namespace {

/// A network, its state in float64 with running statistics that no batch has, and a batch.
struct Scene {
  explicit Scene(const std::string& name, std::int64_t n = 6)
      : network(nn::make_network(name, {3, 8, 8}, 4)), state(network->initialize(Rng(51))) {
    for (Tensor& p : state.parameters) p = p.to(at::kDouble);
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      Tensor& b = state.buffers[i];
      const Tensor away = Rng(52).child(std::int64_t(i)).uniform_tensor(b.sizes(), 0.1, 0.5);
      b = (b + away).to(at::kDouble);
    }
    x = Rng(53).normal_tensor({n, 3, 8, 8}).to(at::kDouble);
  }
  std::vector<BatchStatistics> statistics(const Tensor& images, std::int64_t group = 0,
                                          nn::Mode mode = nn::Mode::Eval) const {
    return network
        ->forward(state, images,
                  {.mode = mode, .batch_norm_statistics = true, .batch_norm_group = group})
        .batch_norm_statistics;
  }
  Tensor loss(const Tensor& images, std::int64_t group = 0) const {
    return batch_norm_loss(statistics(images, group), state.buffers);
  }

  std::unique_ptr<nn::Network> network;
  nn::NetworkState state;
  Tensor x;
};

const std::vector<std::string> kNetworks = {"ConvNet-2-w4-BN-swish", "ConvNet-2-w4-BN", "R18m-w4"};

double number(const Tensor& scalar) { return scalar.item<double>(); }

}  // namespace

TEST_CASE("the loss of BatchNorm statistics follows from its formula", "[methods][decoupled]") {
  const auto row = [](std::vector<double> values) { return at::tensor(values, at::kDouble); };
  const std::vector<BatchStatistics> statistics = {{row({3, 4}), row({1, 1})},
                                                   {row({1, 1, 1}), row({1, 3, 1})}};
  const Tensors running = {row({0, 0}), row({1, 2}), row({1, 1, 1}), row({1, 1, 1})};
  CHECK_CLOSE(batch_norm_distances(statistics, running), row({5 + 1, 2}), 1e-15);
  CHECK(number(batch_norm_loss(statistics, running)) == Approx(62));
  CHECK(number(batch_norm_loss(statistics, running, 1)) == Approx(8));
}

TEST_CASE("the factor of the loss touches the first BatchNorm layer alone",
          "[methods][decoupled]") {
  for (const std::string& name : kNetworks) {
    INFO(name);
    const Scene s(name);
    const auto statistics = s.statistics(s.x);
    const Tensor distances = batch_norm_distances(statistics, s.state.buffers);
    CHECK(distances.numel() == std::int64_t(s.state.buffers.size()) / 2);
    CHECK(number(distances.min()) > 0);
    const auto loss = [&](double factor) {
      return number(batch_norm_loss(statistics, s.state.buffers, factor));
    };
    CHECK(loss(1) == Approx(number(distances.sum())));
    CHECK(loss(10) - loss(1) == Approx(9 * number(distances[0])));
    CHECK(loss(0) == Approx(number(distances.slice(0, 1).sum())));
  }
}

TEST_CASE("a batch whose statistics are the running ones has loss 0", "[methods][decoupled]") {
  for (const std::string& name : kNetworks) {
    INFO(name);
    Scene s(name);
    CHECK(number(s.loss(s.x)) > 1);
    // Layer by layer: on batch statistics every layer is what it is in evaluation with them.
    const auto own = s.statistics(s.x, 0, nn::Mode::Batch);
    for (std::size_t l = 0; l < own.size(); ++l) {
      s.state.buffers[2 * l] = own[l].mean;
      s.state.buffers[2 * l + 1] = own[l].variance;
    }
    CHECK(number(s.loss(s.x)) < 1e-9);
  }
}

TEST_CASE("where a norm of the loss is 0 its gradient is 0", "[methods][decoupled]") {
  const Tensor mean = Rng(54).normal_tensor({5}).to(at::kDouble).requires_grad_();
  const Tensor variance = Rng(55).uniform_tensor({5}, 1, 2).to(at::kDouble).requires_grad_();
  const Tensor loss = batch_norm_loss({{mean, variance}}, {mean.detach(), variance.detach() + 1});
  const Tensors gradients = torch::autograd::grad({loss}, {mean, variance});
  CHECK((gradients[0] == 0).all().item<bool>());
  CHECK_CLOSE(gradients[1], at::full({5}, -10 / std::sqrt(5.0), at::kDouble), 1e-12);
}

TEST_CASE("the loss's gradient in the pixels agrees with central differences",
          "[methods][decoupled][gradient]") {
  for (const std::string& name : kNetworks) {
    for (const std::int64_t group : {0, 4}) {
      INFO(name << ", groups of " << group);
      const Scene s(name);
      const bool smooth = name.ends_with("swish");
      const auto loss = [&](const Tensor& x) { return s.loss(x, group); };
      CHECK(testing::direction_error(loss, s.x, smooth ? 1e-6 : 1e-7) < (smooth ? 1e-7 : 1e-5));
    }
  }
}

TEST_CASE("the gradient at a layer's input is the closed form", "[methods][decoupled]") {
  // One layer, and a convolution that hands on the images.
  Scene s("ConvNet-1-w3-BN");
  s.state.parameters[0].zero_();
  for (int c = 0; c < 3; ++c) s.state.parameters[0][c][c][1][1] = 1;
  s.state.parameters[1].zero_();
  const Tensor z = s.x.detach().requires_grad_();
  const Tensor found = torch::autograd::grad({s.loss(z)}, {z})[0];

  const double m = double(z.numel() / z.size(1));
  const auto per_channel = [](const Tensor& row) { return row.view({1, -1, 1, 1}); };
  const Tensor mean = s.x.mean({0, 2, 3});
  const Tensor centred = s.x - per_channel(mean);
  const Tensor variance = centred.square().mean({0, 2, 3});
  const Tensor off_mean = mean - s.state.buffers[0];
  const Tensor off_variance = variance - s.state.buffers[1];
  const Tensor expected = per_channel(off_mean / (m * off_mean.norm())) +
                          2 * centred * per_channel(off_variance / (m * off_variance.norm()));
  CHECK_CLOSE(found, kFirstLayerFactor * expected, 1e-12);
}

TEST_CASE("the loss of groups is the sum of the losses of each", "[methods][decoupled]") {
  for (const std::string& name : kNetworks) {
    for (const std::int64_t group : {2, 4, 6, 10}) {
      INFO(name << ", groups of " << group);
      const Scene s(name);
      const Tensor x = s.x.detach().requires_grad_();
      Tensor apart = at::zeros({}, at::kDouble);
      for (const Tensor& part : x.split(group)) apart = apart + s.loss(part);
      const Tensor together = s.loss(x, group);
      CHECK(number(together) == Approx(number(apart)).epsilon(1e-12));
      CHECK_CLOSE(torch::autograd::grad({together}, {x})[0], torch::autograd::grad({apart}, {x})[0],
                  1e-10);
    }
  }
}

TEST_CASE("computing the loss leaves running statistics and parameters alone",
          "[methods][decoupled]") {
  for (const std::string& name : kNetworks) {
    INFO(name);
    const Scene s(name);
    const auto before = s.state.detached_clone();
    const Tensor x = s.x.detach().requires_grad_();
    torch::autograd::grad({s.loss(x)}, {x});
    for (std::size_t i = 0; i < before.buffers.size(); ++i) {
      CHECK(at::equal(s.state.buffers[i], before.buffers[i]));
    }
    for (std::size_t i = 0; i < before.parameters.size(); ++i) {
      CHECK(at::equal(s.state.parameters[i], before.parameters[i]));
      CHECK_FALSE(s.state.parameters[i].grad().defined());
    }
  }
}

TEST_CASE("a network without BatchNorm has no such loss, and says so", "[methods][decoupled]") {
  const Scene s("ConvNet-2-w4");
  CHECK_THROWS_WITH_TEXT(s.loss(s.x), ConfigError,
                         "there are none: take a network that has such layers");
  const Scene other("ConvNet-2-w4-BN");
  auto running = other.state.buffers;
  running.pop_back();
  CHECK_THROWS_WITH_TEXT(batch_norm_loss(other.statistics(other.x), running), ConfigError,
                         "statistics of 2 BatchNorm layers need 4 running ones, found 3");
}
