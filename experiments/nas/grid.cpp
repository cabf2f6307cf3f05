#include "experiments/nas/grid.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::experiments::nas {
namespace {

const Filter& whole() {
  static const Filter filter;
  return filter;
}

nn::Norm norm_of(const std::string& name) {
  if (name == "none") return nn::Norm::None;
  if (name == "BN") return nn::Norm::Batch;
  if (name == "LN") return nn::Norm::Layer;
  return name == "IN" ? nn::Norm::Instance : nn::Norm::Group;
}

nn::Activation activation_of(const std::string& name) {
  if (name == "sigmoid") return nn::Activation::Sigmoid;
  return name == "ReLU" ? nn::Activation::Relu : nn::Activation::LeakyRelu;
}

nn::Pooling pooling_of(const std::string& name) {
  if (name == "none") return nn::Pooling::None;
  return name == "max" ? nn::Pooling::Max : nn::Pooling::Average;
}

bool same(std::int64_t a, std::int64_t b) { return a == b; }
bool same(const std::string& a, const std::string& b) { return lower_case(a) == lower_case(b); }

/// Those of `known` that are asked for, in its order.
template <class Value>
std::vector<Value> chosen(const std::string& option, const std::vector<Value>& asked,
                          const std::vector<Value>& known) {
  const auto refuse = [&](const std::string& found) {
    throw ConfigError(
        str("option '", option, "': the grid knows ", join(known), "; found ", found));
  };
  if (asked.empty()) refuse("nothing");
  const auto holds = [](const std::vector<Value>& values, const Value& value) {
    return std::any_of(values.begin(), values.end(),
                       [&](const Value& other) { return same(value, other); });
  };
  for (const Value& value : asked) {
    if (!holds(known, value)) refuse(str("'", value, "'"));
  }
  std::vector<Value> result;
  for (const Value& value : known) {
    if (holds(asked, value)) result.push_back(value);
  }
  return result;
}

/// The deepest ConvNet with pooling that such images allow.
std::int64_t most_depth(nn::ImageShape input, std::int64_t num_classes) {
  std::int64_t most = 0;
  for (const std::int64_t depth : whole().depths) {
    try {
      nn::make_convnet({.width = 1, .depth = depth}, input, num_classes);
      most = depth;
    } catch (const ConfigError&) {
      break;
    }
  }
  return most;
}

}  // namespace

std::vector<Architecture> architectures(const Filter& filter) {
  const auto widths = chosen("widths", filter.widths, whole().widths);
  const auto depths = chosen("depths", filter.depths, whole().depths);
  const auto norms = chosen("norms", filter.norms, whole().norms);
  const auto activations = chosen("activations", filter.activations, whole().activations);
  const auto poolings = chosen("poolings", filter.poolings, whole().poolings);
  std::vector<Architecture> result;
  for (const auto width : widths) {
    for (const auto depth : depths) {
      for (const auto& norm : norms) {
        for (const auto& activation : activations) {
          for (const auto& pooling : poolings) {
            result.push_back({{.width = width,
                               .depth = depth,
                               .norm = norm_of(norm),
                               .activation = activation_of(activation),
                               .pooling = pooling_of(pooling)},
                              norm,
                              activation,
                              pooling});
          }
        }
      }
    }
  }
  return result;
}

Networks make_networks(const std::vector<Architecture>& architectures, nn::ImageShape input,
                       std::int64_t num_classes) {
  const std::int64_t most = most_depth(input, num_classes);
  Networks networks;
  for (const Architecture& architecture : architectures) {
    if (architecture.config.pooling != nn::Pooling::None && architecture.config.depth > most) {
      throw ConfigError(str("option 'depths': images of ", input.channels, "x", input.height, "x",
                            input.width, " allow 1 .. ", most, " poolings, found depth ",
                            architecture.config.depth));
    }
    networks.push_back(nn::make_convnet(architecture.config, input, num_classes));
  }
  return networks;
}

}  // namespace retort::experiments::nas
