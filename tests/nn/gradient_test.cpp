// Derivatives against central differences in float64.

#include "lib/core/rng.h"
#include "lib/nn/network.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;

namespace {

constexpr nn::ImageShape kShape{3, 8, 8};
constexpr double kTolerance = 1e-6;

Tensor images() { return Rng(21).normal_tensor({3, 3, 8, 8}).to(at::kDouble); }

/// Flat float64 parameters with scales and shifts off their starting values.
Tensor parameters(const nn::Network& network) {
  const Tensor flat = nn::flatten(network.initialize(Rng(22)).parameters).to(at::kDouble);
  return flat + 0.1 * Rng(23).normal_tensor(flat.sizes()).to(at::kDouble);
}

struct Case {
  std::string name;
  nn::Mode mode;
};

const std::vector<Case>& smooth_cases() {
  static const std::vector<Case> cases = {
      {"ConvNet-2-w4-swish", nn::Mode::Eval},     {"ConvNet-2-w4-sigmoid-nopool", nn::Mode::Eval},
      {"ConvNet-2-w4-NN-swish", nn::Mode::Eval},  {"ConvNet-2-w4-BN-swish", nn::Mode::Eval},
      {"ConvNet-2-w4-BN-swish", nn::Mode::Train}, {"ConvNet-2-w4-LN-swish", nn::Mode::Eval},
      {"ConvNet-2-w8-GN-swish", nn::Mode::Eval},
  };
  return cases;
}

/// Outputs as a function of the flat parameters or of the images.
class Outputs {
 public:
  explicit Outputs(const Case& c)
      : network_(nn::make_network(c.name, kShape, 3)),
        mode_(c.mode),
        buffers_(network_->initialize(Rng(22)).buffers) {
    for (auto& b : buffers_) b = b.to(at::kDouble);
  }

  const nn::Network& network() const { return *network_; }
  Tensor operator()(const Tensor& flat, const Tensor& x) const {
    const nn::NetworkState state{nn::unflatten(flat, network_->parameters()), buffers_};
    const auto out = network_->forward(state, x, {.mode = mode_});
    return at::cat({out.logits.flatten(), out.embedding.flatten()});
  }

 private:
  std::unique_ptr<nn::Network> network_;
  nn::Mode mode_;
  Tensors buffers_;
};

}  // namespace

TEST_CASE("first derivatives agree with central differences", "[nn][gradient]") {
  for (const auto& c : smooth_cases()) {
    INFO(c.name << (c.mode == nn::Mode::Train ? ", training" : ""));
    const Outputs outputs(c);
    const Tensor flat = parameters(outputs.network());
    const Tensor x = images();
    CHECK(testing::direction_error([&](const Tensor& p) { return outputs(p, x); }, flat) <
          kTolerance);
    CHECK(testing::direction_error([&](const Tensor& v) { return outputs(flat, v); }, x) <
          kTolerance);
  }
}

TEST_CASE("second derivatives agree with central differences", "[nn][gradient]") {
  for (const auto& c : smooth_cases()) {
    INFO(c.name << (c.mode == nn::Mode::Train ? ", training" : ""));
    const Outputs outputs(c);
    const Tensor flat = parameters(outputs.network());
    const Tensor x = images();
    CHECK(testing::second_direction_error([&](const Tensor& p) { return outputs(p, x); }, flat) <
          kTolerance);
    CHECK(testing::second_direction_error([&](const Tensor& v) { return outputs(flat, v); }, x) <
          kTolerance);
  }
}

TEST_CASE("networks with kinks have right derivatives away from them", "[nn][gradient]") {
  const std::vector<Case> cases = {
      {"ConvNet-2-w4", nn::Mode::Eval}, {"ConvNet-2-w4-leakyrelu-max", nn::Mode::Eval},
      {"MLP", nn::Mode::Eval},          {"AlexNet-BN", nn::Mode::Train},
      {"ResNet-18-BN", nn::Mode::Eval}, {"ResNet-18-BN-AP", nn::Mode::Train}};
  for (const auto& c : cases) {
    INFO(c.name);
    const Outputs outputs(c);
    const Tensor flat = nn::flatten(outputs.network().initialize(Rng(22)).parameters);
    // A small step keeps all activations on their side of the kink.
    CHECK(testing::direction_error(
              [&](const Tensor& v) { return outputs(flat.to(at::kDouble), v); }, images(), 1e-7) <
          1e-5);
  }
}
