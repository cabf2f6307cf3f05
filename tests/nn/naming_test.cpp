// Names, aliases and the errors of wrong ones.

#include <set>

#include "lib/core/error.h"
#include "lib/nn/network.h"
#include "tests/support/catch.h"

using namespace retort;
using nn::ImageShape;

namespace {

constexpr ImageShape kRgb{3, 32, 32};

std::string canonical(const std::string& name) { return nn::make_network(name, kRgb, 10)->name(); }

}  // namespace

TEST_CASE("papers' spellings and free orders give one canonical name", "[nn][naming]") {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"ConvNet", "ConvNet-3"},
      {"convnet-3", "ConvNet-3"},
      {"ConvNet-3-IN-relu-avg-w128", "ConvNet-3"},
      {"ConvNetD4", "ConvNet-4"},
      {"ConvNet4", "ConvNet-4"},
      {"ConvNetD3W128", "ConvNet-3"},
      {"ConvNetW64", "ConvNet-3-w64"},
      {"ConvNetBN", "ConvNet-3-BN"},
      {"ConvNetLN", "ConvNet-3-LN"},
      {"ConvNetGN", "ConvNet-3-GN"},
      {"ConvNetIN", "ConvNet-3"},
      {"ConvNetNN", "ConvNet-3-NN"},
      {"ConvNetAS", "ConvNet-3-sigmoid"},
      {"ConvNetAR", "ConvNet-3"},
      {"ConvNetAL", "ConvNet-3-leakyrelu"},
      {"ConvNetASwish", "ConvNet-3-swish"},
      {"ConvNetASwishBN", "ConvNet-3-BN-swish"},
      {"ConvNetNP", "ConvNet-3-nopool"},
      {"ConvNetMP", "ConvNet-3-max"},
      {"ConvNetAP", "ConvNet-3"},
      {"ConvNet-2-max-w16-sigmoid-GN", "ConvNet-2-GN-w16-sigmoid-max"},
      {"mlp", "MLP"},
      {"LeNet", "LeNet"},
      {"AlexNetBN", "AlexNet-BN"},
      {"VGG11", "VGG-11"},
      {"VGG11BN", "VGG-11-BN"},
      {"ResNet18", "ResNet-18"},
      {"ResNet18BN", "ResNet-18-BN"},
      {"ResNet18_AP", "ResNet-18-AP"},
      {"ResNet18BN_AP", "ResNet-18-BN-AP"},
      {"r18m", "R18m"},
      {"R18m-w64", "R18m"},
      {"R18mW16", "R18m-w16"},
      {"r50m", "R50m"},
      {"r101m", "R101m"},
      {"MobileNet_v2", "MobileNetV2"},
      {"EfficientNetB0", "EfficientNet-B0"},
      {"ShuffleNet_V2_0.5", "ShuffleNetV2-0.5"},
      {"ShuffleNetG2", "ShuffleNet-G2"},
      {"DenseNet121", "DenseNet-121"},
  };
  for (const auto& [name, expected] : names) {
    INFO(name);
    CHECK(canonical(name) == expected);
    CHECK(canonical(expected) == expected);
  }
}

TEST_CASE("every listed family can be made under its own name", "[nn][naming]") {
  std::set<std::string> names;
  for (const auto& family : nn::network_families()) {
    CHECK(nn::make_network(family.name, {3, 64, 64}, 10)->name() == family.name);
    CHECK_FALSE(family.pattern.empty());
    CHECK_FALSE(family.description.empty());
    names.insert(family.name);
  }
  CHECK(names.size() == 15);
}

TEST_CASE("unknown networks are refused with the known ones and the nearest", "[nn][naming]") {
  CHECK_THROWS_WITH_TEXT(canonical("ConvNe-3"), ConfigError, "did you mean 'ConvNet-3'?");
  CHECK_THROWS_WITH_TEXT(canonical("transformer"), ConfigError,
                         "unknown network 'transformer'; known: ConvNet-3,");
  CHECK_THROWS_WITH_TEXT(canonical("AlexNet-LN"), ConfigError, "'AlexNet-BN'");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-3-XY"), ConfigError,
                         "network 'ConvNet-3-XY': unknown part 'xy'");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-3-sigmoit"), ConfigError, "did you mean 'sigmoid'?");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-3-BN-IN"), ConfigError,
                         "may each be given once, found a second one at 'in'");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-3-w"), ConfigError, "unknown part 'w'");
  CHECK_THROWS_WITH_TEXT(canonical("R18m-w"), ConfigError, "did you mean 'R18m-w16'?");
  CHECK_THROWS_WITH_TEXT(canonical("R18m-w1x"), ConfigError, "unknown network 'R18m-w1x'");
}

TEST_CASE("sizes out of range are refused with rule and finding", "[nn][naming]") {
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-0"), ConfigError, "depth must be in 1 .. 16, found 0");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-99999999999999999999"), ConfigError,
                         "depth must be in");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-3-w5000"), ConfigError,
                         "width must be in 1 .. 4096, found 5000");
  CHECK_THROWS_WITH_TEXT(canonical("R18m-w0"), ConfigError,
                         "R18m: width must be in 1 .. 1024, found 0");
  CHECK_THROWS_WITH_TEXT(canonical("ConvNet-3-w6-GN"), ConfigError,
                         "GroupNorm needs a channel count that 4 divides, found 6");
  CHECK_THROWS_WITH_TEXT(nn::make_network("MLP", kRgb, 0), ConfigError,
                         "at least 1 class, found 0");
  CHECK_THROWS_WITH_TEXT(nn::make_network("MLP", {3, 0, 4}, 2), ConfigError, "found 3x0x4");
}

TEST_CASE("images too small for a network are refused with rule and finding", "[nn][naming]") {
  CHECK_THROWS_WITH_TEXT(nn::make_network("ConvNet-4-BN", {3, 8, 8}, 10), ConfigError,
                         "network 'ConvNet-4-BN': images of 3x8x8 are too small: layer features.15 "
                         "needs a map of at least 2x2 and gets 1x1");
  CHECK_THROWS_WITH_TEXT(nn::make_network("LeNet", {3, 8, 8}, 10), ConfigError,
                         "layer features.3 needs a map of at least 5x5 and gets 2x2");
  CHECK_THROWS_WITH_TEXT(nn::make_network("VGG-11", {3, 16, 16}, 10), ConfigError, "too small");
  CHECK_THROWS_WITH_TEXT(nn::make_network("ResNet-18-BN-AP", {3, 7, 7}, 10), ConfigError,
                         "layer4.0.conv1");
  CHECK_THROWS_WITH_TEXT(nn::make_network("ResNet-18", {3, 8, 8}, 10), ConfigError,
                         "layer4.0.bn1 needs a map of at least 2 values and gets 1x1");
  for (const std::string name :
       {"R18m", "R50m", "MobileNetV2", "ShuffleNetV2-0.5", "ShuffleNet-G2"}) {
    CHECK_THROWS_WITH_TEXT(
        nn::make_network(name, {3, 8, 7}, 10), ConfigError,
        "network '" + name + "': images of 3x8x7 are too small: their sides must be at least 8");
  }
  CHECK_THROWS_WITH_TEXT(nn::make_network("EfficientNet-B0", {3, 15, 16}, 10), ConfigError,
                         "at least 16");
  CHECK_THROWS_WITH_TEXT(nn::make_network("ResNet-18-224", {3, 64, 63}, 10), ConfigError,
                         "at least 64");
  CHECK_THROWS_WITH_TEXT(nn::make_network("DenseNet-121", {3, 7, 8}, 10), ConfigError,
                         "layer trans3 (average pooling) needs a map of at least 2x2 and gets 1x2");
}

TEST_CASE("the default depth leaves a 4x4 map", "[nn][naming]") {
  CHECK(nn::default_convnet_depth({1, 28, 28}) == 3);
  CHECK(nn::default_convnet_depth({3, 32, 32}) == 3);
  CHECK(nn::default_convnet_depth({3, 64, 64}) == 4);
  CHECK(nn::default_convnet_depth({3, 128, 128}) == 5);
  CHECK(nn::default_convnet_depth({3, 256, 256}) == 6);
  CHECK(nn::default_convnet_depth({3, 8, 8}) == 1);
  CHECK(nn::default_convnet_depth({3, 4, 4}) == 1);
}
