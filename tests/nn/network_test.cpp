// What every network promises: sizes, batches, norms, initialisation, flat parameters.

#include "lib/nn/network.h"

#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/kernels/convnet_forward.h"
#include "lib/kernels/policy.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"

using namespace retort;
using nn::ImageShape;

namespace {

constexpr ImageShape kRgb{3, 32, 32};
constexpr ImageShape kGray{1, 28, 28};

struct Expected {
  std::string name;
  ImageShape input;
  std::int64_t classes;
  std::int64_t features;
  std::int64_t parameters;
};

// Counted by hand in the papers' tables and by the reference code.
const std::vector<Expected> kSizes = {
    {"ConvNet-3", kGray, 10, 2048, 317706},
    {"ConvNet-3", kRgb, 10, 2048, 320010},
    {"ConvNet-3", kRgb, 100, 2048, 504420},
    {"ConvNet-3-BN", kRgb, 10, 2048, 320010},
    {"ConvNet-3", {3, 64, 64}, 200, 8192, 1938120},
    {"ConvNet-4", {3, 64, 64}, 200, 2048, 857160},
    {"ConvNet-5", {3, 128, 128}, 10, 2048, 615690},
    {"ConvNet-6", {3, 256, 256}, 10, 2048, 763530},
    {"MLP", kRgb, 10, 128, 411146},
    {"MLP", kGray, 10, 128, 118282},
    {"LeNet", kRgb, 10, 84, 62006},
    {"LeNet", kGray, 10, 84, 61706},
    {"AlexNet", kRgb, 10, 3072, 1872202},
    {"AlexNet", kGray, 10, 3072, 1865802},
    {"AlexNet-BN", kRgb, 10, 3072, 1874122},
    {"AlexNet-BN", kGray, 10, 3072, 1867722},
    {"VGG-11", kRgb, 10, 512, 9231114},
    {"VGG-11", kGray, 10, 512, 9229962},
    {"VGG-11-BN", kRgb, 10, 512, 9231114},
    {"ResNet-18", kRgb, 10, 512, 11173962},
    {"ResNet-18", kGray, 10, 512, 11172810},
    {"ResNet-18-BN", kRgb, 10, 512, 11173962},
    {"ResNet-18-AP", kRgb, 10, 8192, 11250762},
    {"ResNet-18-AP", kGray, 10, 4608, 11213770},
    {"ResNet-18-BN-AP", kRgb, 10, 8192, 11250762},
};

Tensor images(std::int64_t n, ImageShape shape, std::uint64_t seed = 5) {
  return Rng(seed).normal_tensor({n, shape.channels, shape.height, shape.width});
}

/// Sets the kernels' policy for one scope.
class PolicyGuard {
 public:
  explicit PolicyGuard(kernels::Policy policy) : before_(kernels::policy()) {
    kernels::set_policy(policy);
  }
  ~PolicyGuard() { kernels::set_policy(before_); }
  PolicyGuard(const PolicyGuard&) = delete;
  PolicyGuard& operator=(const PolicyGuard&) = delete;

 private:
  kernels::Policy before_;
};

/// Fresh parameters of which none is a plain 0 or 1, in float64.
nn::NetworkState jittered(const nn::Network& network) {
  auto state = network.initialize(Rng(3));
  const Rng rng = Rng(4).child("jitter");
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    auto& p = state.parameters[i];
    p = (p + 0.1 * rng.child(std::int64_t(i)).normal_tensor(p.sizes())).to(at::kDouble);
  }
  for (auto& b : state.buffers) b = b.to(at::kDouble);
  return state;
}

}  // namespace

TEST_CASE("networks have the published number of parameters and features", "[nn]") {
  for (const auto& expected : kSizes) {
    INFO(expected.name << " on " << expected.input.channels << "x" << expected.input.height);
    const auto network = nn::make_network(expected.name, expected.input, expected.classes);
    CHECK(network->parameter_count() == expected.parameters);
    const auto& classifier = network->parameters()[network->parameters().size() - 2];
    CHECK(classifier.shape == std::vector<std::int64_t>{expected.classes, expected.features});
  }
}

TEST_CASE("every network turns images into an embedding and logits of the promised shape", "[nn]") {
  const at::NoGradGuard no_gradients;
  for (const auto& expected : kSizes) {
    if (expected.input.height > 32) continue;
    INFO(expected.name << " on " << expected.input.channels << "x" << expected.input.height);
    const auto network = nn::make_network(expected.name, expected.input, expected.classes);
    const auto state = network->initialize(Rng(0));
    const Tensor x = images(2, expected.input);
    const auto out = network->forward(state, x);
    CHECK(out.logits.sizes() == at::IntArrayRef({2, expected.classes}));
    CHECK(out.embedding.sizes() == at::IntArrayRef({2, expected.features}));
    CHECK(out.logits.isfinite().all().item<bool>());
    CHECK(out.activation_maps.empty());
    CHECK_FALSE(network->forward(state, x, {.logits = false}).logits.defined());
    // The embedding is what the classifier reads.
    const auto& p = state.parameters;
    CHECK_CLOSE(at::linear(out.embedding, p[p.size() - 2], p.back()), out.logits, 1e-6);
  }
}

TEST_CASE("one-channel images of any size reach a classifier that fits", "[nn]") {
  const at::NoGradGuard no_gradients;
  for (const std::int64_t side : {16, 20, 28, 32, 33}) {
    for (const std::string name : {"ConvNet-2", "LeNet", "AlexNet-BN", "ResNet-18-AP"}) {
      INFO(name << " on side " << side);
      const ImageShape shape{1, side, side};
      const auto network = nn::make_network(name, shape, 4);
      const auto out = network->forward(network->initialize(Rng(1)), images(1, shape));
      CHECK(out.logits.sizes() == at::IntArrayRef({1, 4}));
    }
  }
}

TEST_CASE("multiply-accumulates follow from the shapes of the convolutions", "[nn]") {
  // 27*128*32^2 + 9*128*128*16^2 + 9*128*128*8^2 + 2048*10
  CHECK(nn::make_network("ConvNet-3", kRgb, 10)->macs() == 50745344);
  CHECK(nn::make_network("ConvNet-3", kGray, 10)->macs() == 48386048);
  CHECK(nn::make_network("MLP", kGray, 10)->macs() == 784 * 128 + 128 * 128 + 128 * 10);
  CHECK(nn::make_network("ResNet-18", kRgb, 10)->macs() == 555422720);
}

TEST_CASE("instance-normalised networks treat every image alone", "[nn]") {
  const at::NoGradGuard no_gradients;
  for (const std::string name : {"ConvNet-2-w8", "ConvNet-2-w8-LN", "ConvNet-2-w8-GN"}) {
    INFO(name);
    const auto network = nn::make_network(name, {3, 8, 8}, 5);
    CHECK(network->per_sample(nn::Mode::Train));
    const auto state = jittered(*network);
    const Tensor x = images(3, {3, 8, 8}).to(at::kDouble);
    const Tensor together = network->forward(state, x, {.mode = nn::Mode::Train}).logits;
    for (std::int64_t i = 0; i < 3; ++i) {
      const Tensor alone =
          network->forward(state, x.slice(0, i, i + 1), {.mode = nn::Mode::Train}).logits;
      CHECK_CLOSE(alone, together.slice(0, i, i + 1), 1e-12);
    }
  }
}

TEST_CASE("BatchNorm mixes the images of a batch in training mode only", "[nn]") {
  const at::NoGradGuard no_gradients;
  const auto network = nn::make_network("ConvNet-2-w8-BN", {3, 8, 8}, 5);
  CHECK(network->has_batch_norm());
  CHECK(network->per_sample(nn::Mode::Eval));
  CHECK_FALSE(network->per_sample(nn::Mode::Train));
  const auto state = jittered(*network);
  const Tensor x = images(3, {3, 8, 8}).to(at::kDouble);
  const auto first = [&](nn::Mode mode, std::int64_t n) {
    return network->forward(state, x.slice(0, 0, n), {.mode = mode}).logits[0];
  };
  CHECK_CLOSE(first(nn::Mode::Eval, 1), first(nn::Mode::Eval, 3), 1e-12);
  const Tensor difference = first(nn::Mode::Train, 1) - first(nn::Mode::Train, 3);
  CHECK(difference.abs().max().item<double>() > 1e-3);
}

TEST_CASE("BatchNorm's running statistics move a tenth towards the unbiased batch ones", "[nn]") {
  const at::NoGradGuard no_gradients;
  const auto network = nn::make_network("ConvNet-1-w4-BN", {3, 6, 6}, 2);
  const auto state = jittered(*network);
  REQUIRE(state.buffers.size() == 2);
  CHECK(network->buffers()[0].name == "features.1.running_mean");
  CHECK(network->buffers()[1].name == "features.1.running_var");
  const Tensor x = images(5, {3, 6, 6}).to(at::kDouble);
  const Tensor map = at::conv2d(x, state.parameters[0], state.parameters[1], 1, 1);
  const auto before = state.detached_clone();

  network->forward(state, x, {.mode = nn::Mode::Eval});
  CHECK_CLOSE(state.buffers[0], before.buffers[0], 0);
  CHECK_CLOSE(state.buffers[1], before.buffers[1], 0);

  network->forward(state, x, {.mode = nn::Mode::Train});
  const Tensor values = map.transpose(0, 1).flatten(1);
  CHECK_CLOSE(state.buffers[0], 0.9 * before.buffers[0] + 0.1 * values.mean(1), 1e-12);
  CHECK_CLOSE(state.buffers[1], 0.9 * before.buffers[1] + 0.1 * values.var(1, true), 1e-12);
}

TEST_CASE("activation maps are the blocks' outputs before pooling", "[nn]") {
  const at::NoGradGuard no_gradients;
  const auto network = nn::make_network("ConvNet-2-w4", {3, 8, 8}, 2);
  const auto state = jittered(*network);
  const Tensor x = images(2, {3, 8, 8}).to(at::kDouble);
  const auto out = network->forward(state, x, {.activation_maps = true});
  REQUIRE(out.activation_maps.size() == 2);
  CHECK(out.activation_maps[0].sizes() == at::IntArrayRef({2, 4, 8, 8}));
  CHECK(out.activation_maps[1].sizes() == at::IntArrayRef({2, 4, 4, 4}));
  CHECK(out.activation_maps[0].min().item<double>() == 0);
  CHECK_CLOSE(at::avg_pool2d(out.activation_maps[1], 2).flatten(1), out.embedding, 1e-12);
  CHECK_CLOSE(network->forward(state, x).logits, out.logits, 1e-12);
}

TEST_CASE("the fast kernels leave the default ConvNet's outputs and gradients as they are",
          "[nn]") {
  const auto shape = GENERATE(ImageShape{3, 10, 12}, ImageShape{1, 9, 9});
  INFO(shape.channels << " channels");
  const auto network = nn::make_network("ConvNet-2-w8", shape, 4);
  const auto run = [&](kernels::Policy policy) {
    const PolicyGuard guard(policy);
    auto state = jittered(*network);
    for (auto& p : state.parameters) p = p.to(at::kFloat).requires_grad_();
    const Tensor x = images(3, shape).requires_grad_();
    kernels::reset_counters();
    const Tensor logits = network->forward(state, x).logits;
    const kernels::ConvNetShape blocks{.depth = 2, .first_padding = shape.channels == 1 ? 3 : 1};
    const bool fast = kernels::serves_convnet_features(x, state.parameters, blocks);
    CHECK(kernels::counters().convnet_fast == (fast ? 1 : 0));
    Tensors inputs = state.parameters;
    inputs.push_back(x);
    Tensors result = torch::autograd::grad({logits.square().sum()}, inputs, {}, true, false);
    // Second order: the gradient of the squared gradient with respect to the images.
    const Tensor first =
        torch::autograd::grad({logits.square().sum()}, {x}, {}, true, /*create_graph=*/true)[0];
    result.push_back(torch::autograd::grad({first.square().sum()}, {x})[0]);
    result.push_back(logits);
    return result;
  };
  const Tensors fast = run(kernels::Policy::Fast);
  const Tensors plain = run(kernels::Policy::Reference);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    INFO("tensor " << i);
    // A bias before an instance norm has no influence: its gradient is rounding error alone.
    if (i == 1 || i == 5) {
      CHECK(fast[i].abs().max().item<double>() < 1e-3);
    } else {
      CHECK_CLOSE(fast[i], plain[i], 1e-5);
    }
  }
}

TEST_CASE("attention is the sum over channels of the activation maps' powers", "[nn]") {
  const at::NoGradGuard no_gradients;
  for (const std::string name : {"ConvNet-2-w4", "ConvNet-2-BN-w4", "ConvNet-2-GN-w4-swish",
                                 "ConvNet-2-w4-max", "AlexNet", "MLP", "ResNet-18-BN"}) {
    INFO(name);
    const auto network = nn::make_network(name, {3, 8, 8}, 2);
    const auto state = jittered(*network);
    const Tensor x = images(2, {3, 8, 8}).to(at::kDouble);
    const Tensors maps = network->forward(state, x, {.activation_maps = true}).activation_maps;
    CHECK(network->forward(state, x).attention.empty());
    for (const double power : {1.0, 2.5}) {
      const auto out = network->forward(state, x, {.attention_power = power});
      CHECK(out.activation_maps.empty());
      REQUIRE(out.attention.size() == maps.size());
      for (std::size_t i = 0; i < maps.size(); ++i) {
        CHECK_CLOSE(out.attention[i], maps[i].abs().pow(power).sum(1).flatten(1), 1e-12);
      }
    }
  }
}

TEST_CASE("what LibTorch computes is counted", "[nn][kernels]") {
  using kernels::Counters;
  const auto count = [](const std::string& name, const nn::ForwardOptions& options) {
    const PolicyGuard guard(kernels::Policy::Reference);
    const auto network = nn::make_network(name, {3, 32, 32}, 4);
    const auto state = network->initialize(Rng(1));
    kernels::reset_counters();
    network->forward(state, images(2, {3, 32, 32}).to(at::kFloat), options);
    const Counters found = kernels::counters();
    CHECK(found.conv_fast + found.convnet_fast + found.batch_norm_fast + found.attention_fast == 0);
    return found;
  };
  const Counters plain = count("ConvNet-2-w8", {});
  CHECK(plain.convnet_fallback == 1);
  CHECK(plain.conv_fallback == 2);
  CHECK(count("ConvNet-2-GN-w8", {}).convnet_fallback == 1);
  CHECK(count("ConvNet-2-w8", {.second_order = true}).convnet_fallback == 1);
  CHECK(count("ConvNet-2-w8", {.activation_maps = true}).convnet_fallback == 1);
  const Counters attention = count("ConvNet-2-w8", {.attention_power = 2});
  CHECK(attention.attention_fallback == 1);
  CHECK(attention.convnet_fallback == 0);
  const Counters batch_norm = count("ConvNet-2-BN-w8", {});
  CHECK(batch_norm.batch_norm_fallback == 1);
  CHECK(batch_norm.convnet_fallback == 0);
  CHECK(count("ResNet-18", {}).conv_fallback == 20);
  const Counters mlp = count("MLP", {});
  CHECK(mlp.convnet_fallback + mlp.conv_fallback == 0);
}

TEST_CASE("gradients of a loss are counted by the path that computes them", "[nn][kernels]") {
  const auto network = nn::make_network("ConvNet-2-w8", {3, 16, 16}, 4);
  const auto state = network->initialize(Rng(1));
  const Tensor x = images(2, {3, 16, 16}).to(at::kFloat);
  const Tensor targets = at::eye(4).slice(0, 0, 2);
  const auto count = [&](kernels::Policy policy) {
    const PolicyGuard guard(policy);
    kernels::reset_counters();
    network->loss_gradients(state, x, targets);
    return kernels::counters();
  };
  CHECK(count(kernels::Policy::Reference).gradient_fallback == 1);
  CHECK(count(kernels::Policy::Reference).gradient_fast == 0);
  CHECK(count(kernels::Policy::Fast).gradient_fast == 1);
  CHECK(count(kernels::Policy::Fast).gradient_fallback == 0);
}

TEST_CASE("the fast kernels leave attention, GroupNorm and BatchNorm as they are", "[nn]") {
  const auto mode = GENERATE(nn::Mode::Train, nn::Mode::Eval);
  const std::string name = GENERATE("ConvNet-2-w8", "ConvNet-2-GN-w8", "ConvNet-2-BN-w8");
  const double power = GENERATE(0.0, 1.0, 4.0);
  INFO(name << (mode == nn::Mode::Train ? ", training" : ", evaluation") << ", power " << power);
  const auto network = nn::make_network(name, {3, 10, 9}, 4);
  const auto run = [&](kernels::Policy policy) {
    const PolicyGuard guard(policy);
    auto state = jittered(*network);
    for (auto& p : state.parameters) p = p.to(at::kFloat).requires_grad_();
    for (auto& b : state.buffers) b = b.to(at::kFloat);
    const Tensor x = images(3, {3, 10, 9}).requires_grad_();
    kernels::reset_counters();
    const auto out = network->forward(state, x, {.mode = mode, .attention_power = power});
    const kernels::Counters counters = kernels::counters();
    // False under the reference's policy.
    const std::int64_t fast =
        kernels::serves_convnet_features(x, state.parameters, {.depth = 2}) ? 1 : 0;
    CHECK(counters.attention_fast == (power > 0 ? fast : 0));
    CHECK(counters.attention_fallback == (power > 0 ? 1 - fast : 0));
    CHECK(counters.batch_norm_fast == (network->has_batch_norm() ? fast : 0));
    CHECK(counters.batch_norm_fallback == (network->has_batch_norm() ? 1 - fast : 0));
    const bool plain = power == 0 && !network->has_batch_norm();
    CHECK(counters.convnet_fast == (plain ? fast : 0));
    CHECK(counters.convnet_fallback == (plain ? 1 - fast : 0));
    Tensor loss = out.logits.square().sum();
    for (const Tensor& a : out.attention) loss = loss + a.square().mean();
    const Tensors parameters = {state.parameters[0], state.parameters[2], state.parameters[4], x};
    Tensors result = torch::autograd::grad({loss}, parameters);
    result.push_back(out.logits);
    result.insert(result.end(), out.attention.begin(), out.attention.end());
    result.insert(result.end(), state.buffers.begin(), state.buffers.end());
    return result;
  };
  const Tensors fast = run(kernels::Policy::Fast);
  const Tensors plain = run(kernels::Policy::Reference);
  REQUIRE(fast.size() == plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    INFO("tensor " << i);
    CHECK_CLOSE(fast[i], plain[i], 1e-5);
  }
}

TEST_CASE("the fast kernels serve a ConvNet's loss gradients and their gradient by the images",
          "[nn]") {
  const auto shape = GENERATE(ImageShape{3, 10, 13}, ImageShape{1, 9, 9});
  const std::string name = GENERATE("ConvNet-2-w8", "ConvNet-2-GN-w8", "ConvNet-2-BN-w8");
  INFO(name << ", " << shape.channels << " channels");
  const auto network = nn::make_network(name, shape, 4);
  const Tensor targets = Rng(6).uniform_tensor({3, 4}, 0, 1);
  const kernels::ConvNetShape blocks{.depth = 2, .first_padding = shape.channels == 1 ? 3 : 1};
  const auto run = [&](at::ScalarType dtype) {
    auto state = jittered(*network);
    for (Tensor& p : state.parameters) p = p.to(dtype);
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      const Tensor away = Rng(7).child(std::int64_t(i)).uniform_tensor({8}, 0.2, 3);
      state.buffers[i] = (state.buffers[i] + away).to(dtype);
    }
    const nn::NetworkState before = state.detached_clone();
    const Tensor x = images(3, shape).to(dtype).requires_grad_();
    kernels::reset_counters();
    Tensors result = network->loss_gradients(state, x, targets.to(dtype));
    // False in float64.
    const bool served = kernels::serves_convnet_features(x, state.parameters, blocks);
    CHECK(kernels::counters().gradient_fast == (served ? 1 : 0));
    Tensor loss = at::zeros({}, dtype);
    for (const Tensor& g : result) loss = loss + g.square().sum();
    result.push_back(torch::autograd::grad({loss}, {x})[0]);
    CHECK(kernels::counters().second_order == 0);
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      CHECK(at::equal(state.buffers[i], before.buffers[i]));
    }
    return result;
  };
  const Tensors found = run(at::kFloat);
  const Tensors exact = run(at::kDouble);
  REQUIRE(found.size() == network->parameters().size() + 1);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    INFO("tensor " << i);
    // A bias before an instance norm has no influence.
    if (name == "ConvNet-2-w8" && (i == 1 || i == 5)) {
      CHECK(found[i].abs().max().item<double>() < 1e-6);
    } else {
      CHECK_CLOSE(found[i], exact[i], 1e-5);
    }
  }
}

TEST_CASE("LayerNorm and no norm go layer by layer", "[nn][kernels]") {
  for (const std::string name : {"ConvNet-2-LN-w8", "ConvNet-2-NN-w8"}) {
    INFO(name);
    const auto network = nn::make_network(name, {3, 16, 16}, 4);
    const auto state = network->initialize(Rng(1));
    const Tensor x = images(2, {3, 16, 16}).to(at::kFloat);
    kernels::reset_counters();
    network->forward(state, x);
    CHECK(kernels::counters().convnet_fast == 0);
    CHECK(kernels::counters().convnet_fallback == 1);
    network->loss_gradients(state, x, at::eye(4).slice(0, 0, 2));
    CHECK(kernels::counters().gradient_fast == 0);
    CHECK(kernels::counters().gradient_fallback == 1);
  }
}

TEST_CASE("fresh parameters are uniform within one over the root of the fan-in", "[nn][init]") {
  const auto network = nn::make_network("ConvNet-3", kRgb, 10);
  const auto state = network->initialize(Rng(11));
  std::map<std::string, Tensor> named;
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    named[network->parameters()[i].name] = state.parameters[i];
  }
  const std::map<std::string, double> fan_in = {
      {"features.0.weight", 27},   {"features.0.bias", 27},   {"features.4.weight", 1152},
      {"features.4.bias", 1152},   {"features.8.bias", 1152}, {"features.8.weight", 1152},
      {"classifier.weight", 2048}, {"classifier.bias", 2048}};
  for (const auto& [name, fan] : fan_in) {
    INFO(name);
    const Tensor p = named.at(name).to(at::kDouble);
    const double bound = 1 / std::sqrt(fan);
    CHECK(p.abs().max().item<double>() <= bound);
    // The largest of n uniform values: 1 - 20/n is exceeded but for e^-20.
    CHECK(p.abs().max().item<double>() > bound * (1 - 20.0 / double(p.numel())));
    // Var of U(-b,b) is b^2/3; the standard deviation of its estimate is b^2 sqrt(4/45/n).
    const double sigma = bound * bound * std::sqrt(4.0 / 45 / double(p.numel()));
    CHECK(std::abs(p.square().mean().item<double>() - bound * bound / 3) < 4 * sigma);
  }
  // 147,456 values, 20 bins.
  const double bound = 1 / std::sqrt(fan_in.at("features.4.weight"));
  const Tensor bins =
      at::histc(named.at("features.4.weight").to(at::kDouble), 20, -bound, bound).to(at::kLong);
  REQUIRE(bins.sum().item<std::int64_t>() == 128 * 128 * 9);
  const auto* first = bins.const_data_ptr<std::int64_t>();
  retort::testing::check_uniform({first, first + bins.numel()});
  CHECK((named.at("features.1.weight") == 1).all().item<bool>());
  CHECK((named.at("features.1.bias") == 0).all().item<bool>());
  CHECK_FALSE(named.at("features.4.weight").equal(named.at("features.8.weight")));
}

TEST_CASE("the same seed gives the same parameters, another seed others", "[nn][init]") {
  const auto network = nn::make_network("ConvNet-2-w8-BN", kRgb, 10);
  const auto a = network->initialize(Rng(1));
  CHECK(nn::flatten(a.parameters).equal(nn::flatten(network->initialize(Rng(1)).parameters)));
  CHECK_FALSE(nn::flatten(a.parameters).equal(nn::flatten(network->initialize(Rng(2)).parameters)));
  // A stream per name: the first block of a deeper network starts the same.
  const auto deeper = nn::make_network("ConvNet-3-w8-BN", kRgb, 10)->initialize(Rng(1));
  CHECK(a.parameters[0].equal(deeper.parameters[0]));
  REQUIRE(a.buffers.size() == 4);
  CHECK((a.buffers[0] == 0).all().item<bool>());
  CHECK((a.buffers[1] == 1).all().item<bool>());
}

TEST_CASE("a detached clone shares nothing with its origin", "[nn]") {
  const auto network = nn::make_network("ConvNet-1-w4-BN", {3, 8, 8}, 2);
  auto state = network->initialize(Rng(1));
  for (auto& p : state.parameters) p.requires_grad_();
  const auto copy = state.detached_clone();
  CHECK_FALSE(copy.parameters[0].requires_grad());
  const double before = copy.buffers[1].sum().item<double>();
  state.buffers[1].zero_();
  CHECK(copy.buffers[1].sum().item<double>() == before);
}

TEST_CASE("parameters survive flattening and unflattening", "[nn]") {
  const auto network = nn::make_network("ResNet-18", {3, 16, 16}, 10);
  const auto state = network->initialize(Rng(1));
  const Tensor flat = nn::flatten(state.parameters);
  CHECK(flat.sizes() == at::IntArrayRef({network->parameter_count()}));
  const Tensors back = nn::unflatten(flat, network->parameters());
  REQUIRE(back.size() == state.parameters.size());
  for (std::size_t i = 0; i < back.size(); ++i) CHECK(back[i].equal(state.parameters[i]));
  CHECK(back[0].data_ptr() == flat.data_ptr());
  CHECK_THROWS_WITH_TEXT(nn::unflatten(flat.slice(0, 1), network->parameters()), ConfigError,
                         "flat parameters");
}

TEST_CASE("wrong inputs and states are refused with rule and finding", "[nn]") {
  const auto network = nn::make_network("ConvNet-2-w4-BN", {3, 8, 8}, 2);
  auto state = network->initialize(Rng(1));
  CHECK_THROWS_WITH_TEXT(network->forward(state, images(2, {3, 8, 6})), ConfigError,
                         "input of ConvNet-2-BN-w4");
  auto short_state = state;
  short_state.buffers.pop_back();
  CHECK_THROWS_WITH_TEXT(network->forward(short_state, images(2, {3, 8, 8})), ConfigError,
                         "takes 10 parameters and 4 buffers, found 10 and 3");

  const auto no_pooling = nn::make_network("ConvNet-1-w4-BN-nopool", {3, 1, 1}, 2);
  state = no_pooling->initialize(Rng(1));
  CHECK_THROWS_WITH_TEXT(
      no_pooling->forward(state, images(1, {3, 1, 1}), {.mode = nn::Mode::Train}), ConfigError,
      "more than one value per channel");
}
