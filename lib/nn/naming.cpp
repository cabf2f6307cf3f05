#include "lib/nn/naming.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/nn/factories.h"
#include "lib/nn/network.h"

namespace retort::nn {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  return result;
}

bool is_separator(char c) { return c == '-' || c == '_'; }

struct FixedNetwork {
  std::string name;  ///< canonical; aliases differ in case and separators only
  std::unique_ptr<Network> (*make)(ImageShape input, std::int64_t num_classes);
};

const std::vector<FixedNetwork>& fixed_networks() {
  using Down = Downsampling;
  static const std::vector<FixedNetwork> networks = {
      {"MLP", make_mlp},
      {"LeNet", make_lenet},
      {"AlexNet", [](ImageShape i, std::int64_t k) { return make_alexnet(Norm::None, i, k); }},
      {"AlexNet-BN", [](ImageShape i, std::int64_t k) { return make_alexnet(Norm::Batch, i, k); }},
      {"VGG-11", [](ImageShape i, std::int64_t k) { return make_vgg11(Norm::Instance, i, k); }},
      {"VGG-11-BN", [](ImageShape i, std::int64_t k) { return make_vgg11(Norm::Batch, i, k); }},
      {"ResNet-18",
       [](ImageShape i, std::int64_t k) {
         return make_resnet18(Norm::Instance, Down::Stride, i, k);
       }},
      {"ResNet-18-BN",
       [](ImageShape i, std::int64_t k) { return make_resnet18(Norm::Batch, Down::Stride, i, k); }},
      {"ResNet-18-AP",
       [](ImageShape i, std::int64_t k) {
         return make_resnet18(Norm::Instance, Down::AveragePooling, i, k);
       }},
      {"ResNet-18-BN-AP",
       [](ImageShape i, std::int64_t k) {
         return make_resnet18(Norm::Batch, Down::AveragePooling, i, k);
       }},
      {"R18m", [](ImageShape i, std::int64_t k) { return make_r18m(64, i, k); }},
      {"R50m", make_r50m},
      {"R101m", make_r101m},
      {"ResNet-18-224", make_resnet18_224},
      {"ResNet-50-224", make_resnet50_224},
      {"ResNet-101-224", make_resnet101_224},
      {"ResNet-18-GUARD", make_resnet18_guard},
      {"MobileNetV2", make_mobilenet_v2},
      {"MobileNetV2-0.5", make_mobilenet_v2_half},
      {"MobileNetV2-224", make_mobilenet_v2_224},
      {"EfficientNet-B0", make_efficientnet_b0},
      {"ShuffleNetV2-0.5", make_shufflenet_v2},
      {"ShuffleNetV2-0.5-1x1", make_shufflenet_v2_1x1},
      {"ShuffleNetV2-0.5-224", make_shufflenet_v2_224},
      {"ShuffleNetV2-1.0-224", make_shufflenet_v2_whole_224},
      {"ShuffleNet-G2", make_shufflenet_g2},
      {"DenseNet-121", make_densenet121},
      {"DenseNet-121-224", make_densenet121_224},
      {"WRN-16-2", make_wide_resnet},
  };
  return networks;
}

/// "ResNet18BN_AP" and "ResNet-18-BN-AP" both give "resnet18bnap".
std::string without_separators(std::string_view name) {
  std::string result = lower(name);
  std::erase_if(result, is_separator);
  return result;
}

/// What one part of a ConvNet's name stands for. Parts of one slot exclude each other.
struct ConvNetPart {
  enum class Slot { Depth, Width, Norm, Activation, Pooling };
  std::string spelling;  ///< lower case; "d", "w" and "" take a number
  Slot slot;
  void (*apply)(ConvNetConfig& config, std::int64_t number);
};

// The longest matching spelling wins, so "aswish" is not read as "as" and "wish".
const std::vector<ConvNetPart>& convnet_parts() {
  using Slot = ConvNetPart::Slot;
  using Config = ConvNetConfig;
  using Int = std::int64_t;
  static const std::vector<ConvNetPart> parts = {
      {"", Slot::Depth, [](Config& c, Int n) { c.depth = n; }},
      {"d", Slot::Depth, [](Config& c, Int n) { c.depth = n; }},
      {"w", Slot::Width, [](Config& c, Int n) { c.width = n; }},
      {"nn", Slot::Norm, [](Config& c, Int) { c.norm = Norm::None; }},
      {"bn", Slot::Norm, [](Config& c, Int) { c.norm = Norm::Batch; }},
      {"ln", Slot::Norm, [](Config& c, Int) { c.norm = Norm::Layer; }},
      {"in", Slot::Norm, [](Config& c, Int) { c.norm = Norm::Instance; }},
      {"gn", Slot::Norm, [](Config& c, Int) { c.norm = Norm::Group; }},
      {"relu", Slot::Activation, [](Config& c, Int) { c.activation = Activation::Relu; }},
      {"ar", Slot::Activation, [](Config& c, Int) { c.activation = Activation::Relu; }},
      {"leakyrelu", Slot::Activation, [](Config& c, Int) { c.activation = Activation::LeakyRelu; }},
      {"al", Slot::Activation, [](Config& c, Int) { c.activation = Activation::LeakyRelu; }},
      {"sigmoid", Slot::Activation, [](Config& c, Int) { c.activation = Activation::Sigmoid; }},
      {"as", Slot::Activation, [](Config& c, Int) { c.activation = Activation::Sigmoid; }},
      {"swish", Slot::Activation, [](Config& c, Int) { c.activation = Activation::Swish; }},
      {"aswish", Slot::Activation, [](Config& c, Int) { c.activation = Activation::Swish; }},
      {"max", Slot::Pooling, [](Config& c, Int) { c.pooling = Pooling::Max; }},
      {"mp", Slot::Pooling, [](Config& c, Int) { c.pooling = Pooling::Max; }},
      {"avg", Slot::Pooling, [](Config& c, Int) { c.pooling = Pooling::Average; }},
      {"ap", Slot::Pooling, [](Config& c, Int) { c.pooling = Pooling::Average; }},
      {"nopool", Slot::Pooling, [](Config& c, Int) { c.pooling = Pooling::None; }},
      {"np", Slot::Pooling, [](Config& c, Int) { c.pooling = Pooling::None; }},
  };
  return parts;
}

bool takes_number(const ConvNetPart& part) {
  return part.slot == ConvNetPart::Slot::Depth || part.slot == ConvNetPart::Slot::Width;
}

/// Leading digits of `text` as a number, removed from it. Saturates: ranges are checked later.
std::int64_t take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(std::size_t(end - text.data()));
  return error == std::errc{} ? number : INT64_MAX;
}

bool matches(const ConvNetPart& part, std::string_view text) {
  if (!text.starts_with(part.spelling)) return false;
  if (!takes_number(part)) return true;
  return text.size() > part.spelling.size() && std::isdigit(int(text[part.spelling.size()])) != 0;
}

const ConvNetPart* find_part(std::string_view text) {
  const ConvNetPart* best = nullptr;
  for (const auto& part : convnet_parts()) {
    if (!matches(part, text)) continue;
    if (best == nullptr || part.spelling.size() >= best->spelling.size()) best = &part;
  }
  return best;
}

struct ParsedConvNet {
  ConvNetConfig config;
  std::vector<ConvNetPart::Slot> given;  ///< what the name says; the rest of `config` is default
};

/// @param suffix what follows "convnet", lower case
ParsedConvNet parse_convnet(const std::string& name, std::string_view suffix) {
  ParsedConvNet parsed;
  auto& seen = parsed.given;
  while (!suffix.empty()) {
    if (is_separator(suffix.front())) {
      suffix.remove_prefix(1);
      continue;
    }
    const ConvNetPart* part = find_part(suffix);
    if (part == nullptr) {
      const std::string found(suffix.substr(0, suffix.find_first_of("-_")));
      throw ConfigError(
          str("network '", name, "': ",
              unknown_name_message("part", found,
                                   {"<depth>", "BN", "LN", "GN", "IN", "NN", "w<width>", "sigmoid",
                                    "leakyrelu", "swish", "max", "nopool"})));
    }
    if (std::find(seen.begin(), seen.end(), part->slot) != seen.end()) {
      throw ConfigError(str("network '", name, "': depth, width, norm, activation and pooling may ",
                            "each be given once, found a second one at '", suffix, "'"));
    }
    seen.push_back(part->slot);
    suffix.remove_prefix(part->spelling.size());
    part->apply(parsed.config, takes_number(*part) ? take_number(suffix) : 0);
  }
  return parsed;
}

constexpr std::string_view kConvNet = "ConvNet";

/// What follows "ConvNet" in a name, as it is written; nothing for other networks.
std::optional<std::string_view> convnet_suffix(std::string_view name) {
  if (lower(name.substr(0, kConvNet.size())) != lower(kConvNet)) return std::nullopt;
  return name.substr(kConvNet.size());
}

/// The width in "r18mw16"; nothing for other names.  @param bare without separators
std::optional<std::int64_t> r18m_width(std::string_view bare) {
  constexpr std::string_view kBeforeWidth = "r18mw";
  if (!bare.starts_with(kBeforeWidth)) return std::nullopt;
  std::string_view digits = bare.substr(kBeforeWidth.size());
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  return take_number(digits);
}

std::vector<std::string> known_names() {
  std::vector<std::string> names = {"ConvNet-3", "ConvNet-3-BN", "ConvNet-3-w64", "R18m-w16"};
  for (const auto& network : fixed_networks()) names.push_back(network.name);
  return names;
}

}  // namespace

std::unique_ptr<Network> make_network(const std::string& name, ImageShape input,
                                      std::int64_t num_classes) {
  if (const auto suffix = convnet_suffix(name)) {
    return make_convnet(parse_convnet(name, lower(*suffix)).config, input, num_classes);
  }
  const std::string bare = without_separators(name);
  if (const auto width = r18m_width(bare)) return make_r18m(*width, input, num_classes);
  for (const auto& network : fixed_networks()) {
    if (without_separators(network.name) == bare) return network.make(input, num_classes);
  }
  throw ConfigError(unknown_name_message("network", name, known_names()));
}

std::string with_depth(const std::string& name, std::int64_t depth) {
  const auto suffix = convnet_suffix(name);
  if (!suffix) return name;
  const auto given = parse_convnet(name, lower(*suffix)).given;
  const bool has_depth =
      std::find(given.begin(), given.end(), ConvNetPart::Slot::Depth) != given.end();
  if (has_depth) return name;
  const bool separated = suffix->empty() || is_separator(suffix->front());
  return str(kConvNet, "-", depth, separated ? "" : "-", *suffix);
}

const std::vector<NetworkFamily>& network_families() {
  static const std::vector<NetworkFamily> families = {
      {.name = "ConvNet-3",
       .pattern = "ConvNet[-D][-BN|-LN|-GN|-IN|-NN][-wW][-sigmoid|-leakyrelu|-swish][-max|-nopool]",
       .description = "D blocks of convolution, norm, activation, pooling; depth 3, width 128, "
                      "InstanceNorm, ReLU, average pooling if nothing is said (Zhao et al. 2021)"},
      {.name = "MLP",
       .pattern = "MLP",
       .description = "two hidden layers of 128 (Zhao et al. 2021)"},
      {.name = "LeNet", .pattern = "LeNet", .description = "LeNet-5 with ReLU (LeCun et al. 1998)"},
      {.name = "AlexNet",
       .pattern = "AlexNet[-BN]",
       .description = "five convolutions for small images (Krizhevsky et al. 2012)"},
      {.name = "VGG-11",
       .pattern = "VGG-11[-BN]",
       .description = "eight convolutions, InstanceNorm or BatchNorm (Simonyan, Zisserman 2015)"},
      {.name = "ResNet-18",
       .pattern = "ResNet-18[-BN][-AP]",
       .description = "for small images, InstanceNorm or BatchNorm; AP: average pooling instead of "
                      "strides (He et al. 2016)"},
      {.name = "R18m",
       .pattern = "R18m[-wW]",
       .description = "torchvision's ResNet-18 with a 3x3 stem and no max pooling, BatchNorm, base "
                      "width W, 64 if nothing is said (He et al. 2016; Yin et al. 2023)"},
      {.name = "R50m",
       .pattern = "R50m|R101m",
       .description = "the same of ResNet-50 and ResNet-101 (He et al. 2016; Yin et al. 2023)"},
      {.name = "ResNet-18-224",
       .pattern = "ResNet-18-224|ResNet-50-224|ResNet-101-224|ResNet-18-GUARD",
       .description = "torchvision's ResNets, for images of 64 pixels and more (He et al. 2016); "
                      "GUARD: a 3x3 stem of stride 2 and no max pooling (Xue et al. 2025)"},
      {.name = "MobileNetV2",
       .pattern = "MobileNetV2[-0.5|-224]",
       .description = "inverted residuals for small images, BatchNorm; 0.5: half width, 16 pixels "
                      "and more; 224: torchvision's for large images (Sandler et al. 2018)"},
      {.name = "EfficientNet-B0",
       .pattern = "EfficientNet-B0",
       .description = "for small images, 16 pixels and more, BatchNorm (Tan, Le 2019)"},
      {.name = "ShuffleNetV2-0.5",
       .pattern = "ShuffleNetV2-0.5[-1x1|-224]|ShuffleNetV2-1.0-224",
       .description = "half width, for small images, BatchNorm, a 3x3 or 1x1 stem; 224: "
                      "torchvision's for large images (Ma et al. "
                      "2018)"},
      {.name = "ShuffleNet-G2",
       .pattern = "ShuffleNet-G2",
       .description = "two groups, for small images, BatchNorm (Zhang et al. 2018)"},
      {.name = "DenseNet-121",
       .pattern = "DenseNet-121[-224]",
       .description =
           "for small images, BatchNorm; 224: torchvision's for large images (Huang et al. 2017)"},
      {.name = "WRN-16-2",
       .pattern = "WRN-16-2",
       .description = "wide ResNet for small images, BatchNorm (Zagoruyko, Komodakis 2016)"},
  };
  return families;
}

}  // namespace retort::nn
