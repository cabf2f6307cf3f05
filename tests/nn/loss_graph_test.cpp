// Gradients of a loss as an object, and its products with a direction: by autograd for every
// network, by the kernels for those they serve.

#include <cmath>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/rng.h"
#include "lib/kernels/loops/loops.h"
#include "lib/kernels/policy.h"
#include "lib/nn/network.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace retort;
using nn::ImageShape;
using nn::LossProducts;
using retort::testing::WithThreads;

namespace {

constexpr std::int64_t kClasses = 3;

/// A network off its starting values, images, targets that do not sum to one, and a direction.
struct Problem {
  std::unique_ptr<nn::Network> network;
  bool instance_norm;
  nn::NetworkState state;
  Tensor x, targets;
  Tensors direction;

  Problem(const std::string& name, ImageShape shape, std::int64_t images,
          at::ScalarType dtype = at::kDouble)
      : network(nn::make_network(name, shape, kClasses)),
        instance_norm(name.find("-BN") == std::string::npos &&
                      name.find("-GN") == std::string::npos),
        state(network->initialize(Rng(22))) {
    const auto noise = [&](std::uint64_t seed, const Tensor& like) {
      return Rng(seed).normal_tensor(like.sizes()).to(dtype);
    };
    for (std::size_t i = 0; i < state.parameters.size(); ++i) {
      Tensor& p = state.parameters[i];
      p = p.to(dtype) + 0.1 * noise(100 + i, p);
      direction.push_back(0.3 * noise(200 + i, p));
    }
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      const Tensor away = Rng(300 + i).uniform_tensor(state.buffers[i].sizes(), 0.2, 3);
      state.buffers[i] = (state.buffers[i] + away).to(dtype);
    }
    x = Rng(21).normal_tensor({images, shape.channels, shape.height, shape.width}).to(dtype);
    targets = Rng(6).uniform_tensor({images, kClasses}, 0, 1).to(dtype);
  }

  std::unique_ptr<nn::LossGraph> graph() const { return network->loss_graph(state, x, targets); }
  LossProducts products() const { return graph()->products(direction, {true, true, true}); }

  /// <direction, gradients> where parameters have moved along `direction`, images and targets along
  /// the tensors given.
  double phi(const Tensors& parameter_step, const Tensor& x_step, const Tensor& target_step,
             double h) const {
    nn::NetworkState moved = state;
    for (std::size_t i = 0; i < parameter_step.size(); ++i) {
      moved.parameters[i] = state.parameters[i] + h * parameter_step[i];
    }
    const auto found = network->loss_graph(moved, x + h * x_step, targets + h * target_step);
    return dot(found->gradients(), direction);
  }

  static double dot(const Tensors& a, const Tensors& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] * b[i]).sum().item<double>();
    return sum;
  }
};

class WithPolicy {
 public:
  explicit WithPolicy(kernels::Policy policy) : before_(kernels::policy()) {
    kernels::set_policy(policy);
  }
  ~WithPolicy() { kernels::set_policy(before_); }
  WithPolicy(const WithPolicy&) = delete;
  WithPolicy& operator=(const WithPolicy&) = delete;

 private:
  kernels::Policy before_;
};

/// The kernels count a bias before an instance norm as nothing, autograd finds rounding.
bool is_rounding(const Problem& p, std::size_t parameter) {
  return p.instance_norm && parameter % 4 == 1 && parameter + 2 < p.state.parameters.size();
}

}  // namespace

TEST_CASE("products of a loss graph agree with central differences in float64",
          "[nn][gradient][loss-graph]") {
  for (const std::string name :
       {"ConvNet-2-w4-swish", "ConvNet-2-w4-BN-swish", "ConvNet-2-w4-LN-swish",
        "ConvNet-2-w8-GN-swish", "ConvNet-2-w4-NN-sigmoid-nopool", "LeNet"}) {
    for (const std::int64_t images : {3, 33}) {
      const ImageShape shape = name == "LeNet" ? ImageShape{1, 28, 28} : ImageShape{3, 8, 8};
      INFO(name << ", " << images << " images");
      const Problem p(name, shape, images);
      const LossProducts found = p.products();
      const Tensor x_step = Rng(31).normal_tensor(p.x.sizes()).to(at::kDouble);
      const Tensor target_step = Rng(32).normal_tensor(p.targets.sizes()).to(at::kDouble);
      Tensors parameter_step;
      for (const Tensor& v : p.direction) {
        parameter_step.push_back(Rng(33).normal_tensor(v.sizes()).to(at::kDouble));
      }
      // ReLUs of LeNet: a small step keeps all on their side.
      const double h = name == "LeNet" ? 1e-8 : 1e-6;
      const double tolerance = name == "LeNet" ? 1e-5 : 1e-6;
      const auto check = [&](double exact, const Tensors& dp, const Tensor& dx, const Tensor& dt) {
        const double numeric = (p.phi(dp, dx, dt, h) - p.phi(dp, dx, dt, -h)) / (2 * h);
        CHECK(std::abs(exact - numeric) < tolerance * std::max(1e-3, std::abs(numeric)));
      };
      const Tensor no_x = at::zeros_like(p.x);
      const Tensor no_targets = at::zeros_like(p.targets);
      check((found.images * x_step).sum().item<double>(), {}, x_step, no_targets);
      check((found.targets * target_step).sum().item<double>(), {}, no_x, target_step);
      check(Problem::dot(found.parameters, parameter_step), parameter_step, no_x, no_targets);
      CHECK(found.along == Approx(p.phi({}, no_x, no_targets, 0)).epsilon(1e-9));
    }
  }
}

TEST_CASE("a loss graph has the loss and the gradients of loss_gradients", "[nn][loss-graph]") {
  for (const std::string name : {"ConvNet-2-w4", "ConvNet-2-w4-BN", "MLP"}) {
    INFO(name);
    const Problem p(name, {3, 8, 8}, 33);
    const auto graph = p.graph();
    const Tensors wanted = p.network->loss_gradients(p.state, p.x, p.targets);
    REQUIRE(graph->gradients().size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      INFO("parameter " << i);
      CHECK(!graph->gradients()[i].requires_grad());
      CHECK((graph->gradients()[i] - wanted[i]).abs().max().item<double>() <=
            1e-10 * nn::flatten(wanted).abs().max().item<double>());
    }
    const Tensor logs = p.network->forward(p.state, p.x).logits.log_softmax(1);
    CHECK(graph->loss() == Approx(-(p.targets * logs).sum(1).mean().item<double>()).epsilon(1e-10));
  }
}

TEST_CASE("the kernels and autograd make the same loss graph of a ConvNet, each counted",
          "[nn][kernels][loss-graph]") {
  const auto shape = GENERATE(ImageShape{3, 10, 13}, ImageShape{1, 28, 28});
  const std::string name = GENERATE("ConvNet-2-w8", "ConvNet-2-GN-w8", "ConvNet-2-BN-w8");
  INFO(name << ", " << shape.channels << " channels");
  const Problem p(name, shape, 33, at::kFloat);
  const Problem exact(name, shape, 33);
  const auto run = [](const Problem& problem, kernels::Policy policy, bool fast) {
    const WithPolicy guard(policy);
    kernels::reset_counters();
    const LossProducts found = problem.products();
    CHECK(kernels::counters().gradient_fast == (fast ? 1 : 0));
    CHECK(kernels::counters().gradient_fallback == (fast ? 0 : 1));
    return found;
  };
  const bool loops = kernels::available_loops().count > 0;
  const LossProducts wanted = run(exact, kernels::Policy::Fast, false);
  for (const auto policy : {kernels::Policy::Fast, kernels::Policy::Reference}) {
    const bool fast = policy == kernels::Policy::Fast && loops;
    INFO((fast ? "kernels" : "autograd"));
    const double tolerance = fast ? 1e-5 : 1e-4;  // of LibTorch's own rounding nothing is known
    const LossProducts found = run(p, policy, fast);
    CHECK(found.along == Approx(wanted.along).epsilon(1e-4));
    CHECK_CLOSE(found.images, wanted.images, tolerance);
    CHECK_CLOSE(found.targets, wanted.targets, tolerance);
    for (std::size_t i = 0; i < wanted.parameters.size(); ++i) {
      INFO("parameter " << i);
      if (is_rounding(p, i)) {
        CHECK(found.parameters[i].abs().max().item<double>() < 1e-5);
      } else {
        CHECK_CLOSE(found.parameters[i], wanted.parameters[i], tolerance);
      }
    }
  }
}

TEST_CASE("a loss graph of products alone has the same ones, and no gradients",
          "[nn][loss-graph]") {
  for (const std::string name : {"ConvNet-2-w8", "ConvNet-2-w8-GN", "ConvNet-2-w8-LN"}) {
    const Problem p(name, {3, 8, 8}, 20, at::kFloat);
    const auto alone = p.network->loss_graph(p.state, p.x, p.targets, {.gradients = false});
    CHECK(alone->gradients().empty());
    CHECK(alone->loss() == p.graph()->loss());
    const LossProducts found = alone->products(p.direction, {});
    CHECK(at::equal(nn::flatten(found.parameters), nn::flatten(p.products().parameters)));
    CHECK(found.along == p.products().along);
  }
}

TEST_CASE("a loss graph of gradients alone has the same ones, holds nothing and has no products",
          "[nn][loss-graph]") {
  for (const std::string name : {"ConvNet-2-w8", "ConvNet-2-w8-GN", "ConvNet-2-w8-LN"}) {
    const Problem p(name, {3, 8, 8}, 20, at::kFloat);
    const auto alone = p.network->loss_graph(p.state, p.x, p.targets, {.products = false});
    CHECK(at::equal(nn::flatten(alone->gradients()), nn::flatten(p.graph()->gradients())));
    CHECK(alone->bytes() == 0);
    CHECK_THROWS_WITH_TEXT(alone->products(p.direction, {}), Error, "if it was made for them");
    const auto both = p.graph();
    CHECK(both->bytes() > 0);
    both->products(p.direction, {});
    CHECK(both->bytes() == 0);
    CHECK_THROWS_WITH_TEXT(both->products(p.direction, {}), Error, "a loss has products once");
  }
}

TEST_CASE("a loss graph of autograd has the same bits on one thread and on two",
          "[nn][loss-graph]") {
  const Problem p("ConvNet-2-w8-LN", {3, 12, 12}, 70, at::kFloat);
  const auto run = [&] {
    const auto graph = p.graph();
    const LossProducts products = graph->products(p.direction, {true, true, true});
    return Tensors{nn::flatten(graph->gradients()), nn::flatten(products.parameters),
                   products.images, products.targets};
  };
  const Tensors one = run();
  const WithThreads two(2);
  const Tensors other = run();
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], other[i]));
}

TEST_CASE("a loss graph keeps running statistics, and those it saw", "[nn][loss-graph]") {
  const auto policy = GENERATE(kernels::Policy::Fast, kernels::Policy::Reference);
  const WithPolicy guard(policy);
  const Problem p("ConvNet-2-w8-BN", {3, 10, 10}, 5, at::kFloat);
  const nn::NetworkState before = p.state.detached_clone();
  const LossProducts wanted = p.products();
  const auto graph = p.graph();
  for (std::size_t i = 0; i < p.state.buffers.size(); ++i) {
    CHECK(at::equal(p.state.buffers[i], before.buffers[i]));
    p.state.buffers[i].mul_(3);
  }
  CHECK(at::equal(graph->products(p.direction, {}).images, wanted.images));
}

TEST_CASE("a loss graph gives what is wanted, and its products once", "[nn][loss-graph]") {
  const Problem p("ConvNet-2-w4-swish", {3, 8, 8}, 20);
  const auto graph = p.graph();
  const LossProducts some =
      graph->products(p.direction, {.images = false, .targets = true, .parameters = false});
  CHECK(!some.images.defined());
  CHECK(some.parameters.empty());
  CHECK_CLOSE(some.targets, p.products().targets, 1e-12);
  CHECK_THROWS_WITH_TEXT(graph->products(p.direction, {}), Error, "has products once");
  const LossProducts none =
      p.graph()->products(p.direction, {.images = false, .targets = false, .parameters = false});
  CHECK(!none.targets.defined());
}

TEST_CASE("a loss graph of autograd holds about what LibTorch's operations compute",
          "[nn][loss-graph]") {
  const auto bytes = [](std::int64_t images) {
    return Problem("ConvNet-2-w8-LN", {3, 16, 16}, images, at::kFloat).graph()->bytes();
  };
  // Maps of both blocks; each is a result of convolution, norm and activation, and of what leads
  // back through them.
  const std::int64_t maps = 4 * (8 * 16 * 16 + 8 * 8 * 8);
  const std::int64_t image = bytes(2) - bytes(1);
  CHECK(image > 5 * maps);
  CHECK(image < 20 * maps);
}

TEST_CASE("a loss graph refuses what does not belong to the network", "[nn][loss-graph]") {
  const Problem p("ConvNet-2-w4-swish", {3, 8, 8}, 3);
  CHECK_THROWS_WITH_TEXT(p.network->loss_graph(p.state, p.x, p.targets.narrow(0, 0, 2)),
                         ConfigError, "targets of ConvNet-2-w4-swish");
  CHECK_THROWS_WITH_TEXT(p.network->loss_graph(p.state, p.x.narrow(2, 0, 7), p.targets),
                         ConfigError, "input of ConvNet-2-w4-swish");
  Tensors v = p.direction;
  v.pop_back();
  CHECK_THROWS_WITH_TEXT(p.graph()->products(v, {}), ConfigError, "expected 10 tensors");
}
