// The networks of decoupled methods: cost, BatchNorm layers, shapes, initialisation, derivatives.
// Their outputs are compared with those of the reference code in tests/golden.

#include <cmath>
#include <map>

#include "lib/nn/network.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using nn::ImageShape;

namespace {

struct Expected {
  std::string name;
  std::int64_t macs;  ///< of a 32x32 image in 10 classes; 64x64 for networks of large images
  std::int64_t norms;
  std::int64_t norm_channels;
  std::int64_t features;
  std::int64_t parameters;
};

// Counted in the reference code by hooks; of the last three, which are written from their
// description, in the modules that made the golden logits.
const std::vector<Expected> kNetworks = {
    {"R18m", 555422720, 20, 4800, 512, 11173962},
    {"R18m-w16", 35046656, 20, 1200, 128, 701466},
    {"R18m-w32", 139299328, 20, 2400, 256, 2797610},
    {"R50m", 1297829888, 53, 26560, 2048, 23520842},
    {"R101m", 2509983744, 104, 52672, 2048, 42512970},
    {"ResNet-18-224", 148050944, 20, 4800, 512, 11181642},
    {"MobileNetV2", 91154944, 57, 17544, 1280, 2296922},
    {"EfficientNet-B0", 30331392, 48, 19728, 320, 3598598},
    {"ShuffleNetV2-0.5", 10902016, 56, 3976, 1024, 352042},
    {"ShuffleNet-G2", 39614080, 49, 9888, 800, 887582},
    {"DenseNet-121", 888350720, 120, 41760, 1024, 6956298},
    {"ResNet-50-224", 333664256, 53, 26560, 2048, 23528522},
    {"ResNet-101-224", 636702720, 104, 52672, 2048, 42520650},
    {"ShuffleNetV2-1.0-224", 11755872, 56, 8090, 1024, 1263854},
    {"MobileNetV2-224", 24461312, 52, 17056, 1280, 2236682},
    {"ShuffleNetV2-0.5-224", 3230848, 56, 3976, 1024, 352042},
    {"DenseNet-121-224", 231286784, 121, 41824, 1024, 6964106},
    {"ResNet-18-GUARD", 703565568, 20, 4800, 512, 11173962},
    {"MobileNetV2-0.5", 6408448, 53, 9184, 1280, 697546},
    {"ShuffleNetV2-0.5-1x1", 10312192, 56, 3976, 1024, 351466},
    {"WRN-16-2", 101106944, 13, 912, 128, 691674},
};

bool is_for_large_images(const std::string& name) {
  return name.ends_with("-224") || name.ends_with("-GUARD");
}

std::int64_t side_of(const std::string& name) { return is_for_large_images(name) ? 64 : 32; }

Tensor images(std::int64_t n, ImageShape shape) {
  return Rng(41).normal_tensor({n, shape.channels, shape.height, shape.width});
}

std::map<std::string, Tensor> named(const nn::Network& network, const nn::NetworkState& state) {
  std::map<std::string, Tensor> result;
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    result[network.parameters()[i].name] = state.parameters[i].to(at::kDouble);
  }
  return result;
}

}  // namespace

TEST_CASE("cost, parameters and BatchNorm layers are those of the reference code", "[nn]") {
  for (const auto& expected : kNetworks) {
    INFO(expected.name);
    const std::int64_t side = side_of(expected.name);
    const auto network = nn::make_network(expected.name, {3, side, side}, 10);
    CHECK(network->macs() == expected.macs);
    CHECK(network->parameter_count() == expected.parameters);
    CHECK(std::int64_t(network->buffers().size()) == 2 * expected.norms);
    std::int64_t channels = 0;
    for (const auto& buffer : network->buffers()) {
      if (buffer.name.ends_with(".running_mean")) channels += buffer.shape.at(0);
    }
    CHECK(channels == expected.norm_channels);
    CHECK(network->parameters().back().shape == std::vector<std::int64_t>{10});
    CHECK(network->parameters()[network->parameters().size() - 2].shape ==
          std::vector<std::int64_t>{10, expected.features});
  }
}

TEST_CASE("the published cost in millions of multiply-accumulates comes out", "[nn]") {
  const std::map<std::string, std::int64_t> published = {
      {"R18m", 555},         {"R50m", 1298},           {"R101m", 2510},
      {"DenseNet-121", 888}, {"MobileNetV2", 91},      {"R18m-w16", 35},
      {"R18m-w32", 139},     {"ShuffleNetV2-0.5", 11}, {"ConvNet-3-BN", 51}};
  for (const auto& [name, millions] : published) {
    INFO(name);
    const auto network = nn::make_network(name, {3, 32, 32}, 10);
    CHECK(std::llround(double(network->macs()) * 1e-6) == millions);
  }
  // At full size, as in the table of torchvision: 1.81 G.
  const auto large = nn::make_network("ResNet-18-224", {3, 224, 224}, 1000);
  CHECK(std::llround(double(large->macs()) * 1e-7) == 181);
}

TEST_CASE("networks of decoupled methods take gray images and odd sizes", "[nn]") {
  const at::NoGradGuard no_gradients;
  for (const auto& expected : kNetworks) {
    // The parts of R50m and ResNet-50-224, more of them.
    if (expected.name == "R101m" || expected.name == "ResNet-101-224") continue;
    INFO(expected.name);
    const std::int64_t side = is_for_large_images(expected.name) ? 67 : 17;
    const ImageShape shape{1, side, side + 2};
    const auto network = nn::make_network(expected.name, shape, 7);
    const auto state = network->initialize(Rng(42));
    const Tensor x = images(2, shape);
    for (const auto mode : {nn::Mode::Eval, nn::Mode::Batch}) {
      const auto out = network->forward(state, x, {.mode = mode});
      CHECK(out.logits.sizes() == at::IntArrayRef({2, 7}));
      CHECK(out.embedding.sizes() == at::IntArrayRef({2, expected.features}));
      CHECK(out.logits.isfinite().all().item<bool>());
    }
    CHECK_FALSE(network->forward(state, x, {.logits = false}).logits.defined());
  }
}

TEST_CASE("torchvision's convolutions start normal with variance 2 / fan-out", "[nn][init]") {
  const auto network = nn::make_network("R50m", {3, 32, 32}, 10);
  const auto parameters = named(*network, network->initialize(Rng(43)));
  const std::map<std::string, double> fan_out = {{"conv1.weight", 9 * 64},
                                                 {"layer1.0.conv3.weight", 256},
                                                 {"layer2.0.conv2.weight", 9 * 128},
                                                 {"layer2.0.downsample.0.weight", 512}};
  for (const auto& [name, fan] : fan_out) {
    INFO(name);
    const Tensor p = parameters.at(name) * std::sqrt(fan / 2);
    const double n = double(p.numel());
    CHECK(std::abs(p.mean().item<double>()) < 4 / std::sqrt(n));
    // The variance of a normal sample's mean square is 2/n, of its mean fourth power 96/n.
    CHECK(std::abs(p.square().mean().item<double>() - 1) < 4 * std::sqrt(2 / n));
    CHECK(std::abs(p.pow(4).mean().item<double>() - 3) < 4 * std::sqrt(96 / n));
  }
  CHECK((parameters.at("layer3.2.bn3.weight") == 1).all().item<bool>());
  CHECK((parameters.at("layer3.2.bn3.bias") == 0).all().item<bool>());
  CHECK(parameters.at("fc.weight").abs().max().item<double>() <= 1 / std::sqrt(2048.0));
  const auto wide = nn::make_network("WRN-16-2", {3, 32, 32}, 10);
  const auto starts = named(*wide, wide->initialize(Rng(46)));
  for (const auto& [name, fan] : std::map<std::string, double>{
           {"block3.layer.1.conv2.weight", 9 * 128}, {"block2.layer.0.convShortcut.weight", 64}}) {
    INFO(name);
    const Tensor p = starts.at(name) * std::sqrt(fan / 2);
    CHECK(std::abs(p.square().mean().item<double>() - 1) < 4 * std::sqrt(2 / double(p.numel())));
  }
}

TEST_CASE("a grouped convolution starts uniform in the fan-in of its group", "[nn][init]") {
  const auto network = nn::make_network("MobileNetV2", {3, 32, 32}, 10);
  const auto parameters = named(*network, network->initialize(Rng(44)));
  const Tensor depthwise = parameters.at("layers.16.conv2.weight");
  REQUIRE(depthwise.sizes() == at::IntArrayRef({960, 1, 3, 3}));
  const double largest = depthwise.abs().max().item<double>();
  CHECK(largest <= 1.0 / 3);
  CHECK(largest > 0.999 / 3);
}

TEST_CASE("networks of decoupled methods agree with central differences", "[nn][gradient]") {
  struct Case {
    std::string name;
    std::int64_t side;
  };
  for (const Case& c : {Case{"EfficientNet-B0", 32}, Case{"R18m-w4", 16}, Case{"MobileNetV2", 16},
                        Case{"ShuffleNetV2-0.5", 16}, Case{"ShuffleNet-G2", 16},
                        Case{"DenseNet-121", 16}, Case{"WRN-16-2", 16}}) {
    INFO(c.name);
    // Only EfficientNet is smooth; a small step keeps the others' many ReLUs on their sides.
    const bool smooth = c.name == "EfficientNet-B0";
    const ImageShape shape{3, c.side, c.side};
    const auto network = nn::make_network(c.name, shape, 3);
    auto state = network->initialize(Rng(45));
    for (auto& p : state.parameters) p = p.to(at::kDouble);
    for (auto& b : state.buffers) b = b.to(at::kDouble);
    // By fresh running statistics signals would fade from layer to layer.
    const auto logits = [&](const Tensor& x) {
      return network->forward(state, x, {.mode = nn::Mode::Batch}).logits;
    };
    CHECK(testing::direction_error(logits, images(3, shape).to(at::kDouble), smooth ? 1e-6 : 1e-8) <
          (smooth ? 1e-6 : 1e-5));
  }
}
