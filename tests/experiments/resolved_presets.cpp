#include "tests/experiments/resolved_presets.h"

#include <algorithm>

#include "experiments/texts.h"
#include "lib/config/options.h"
#include "methods/method.h"
#include "tests/support/catch.h"

namespace retort::testing {
namespace {

/// "datadam/paper-cifar10-ipc1" -> "datadam/paper": what stands before dataset and ipc. Those that
/// one core or two can afford are a family of their own, whatever the method.
std::string family_of(const std::string& name, const std::string& dataset, std::int64_t ipc) {
  if (name.ends_with("-cpu")) return "cpu";
  const std::string ending = dataset + "-ipc" + std::to_string(ipc);
  REQUIRE(name.ends_with(ending));
  return name.substr(0, name.size() - ending.size() - 1);
}

Preset resolve(const experiments::TextFile& file) {
  Preset preset;
  preset.name = file.name;
  preset.header = file.text.substr(0, file.text.find('\n'));
  preset.whole = file.text;
  std::map<std::string, std::string> given;
  for (const auto& entry : config::parse_config(file.text, file.name)) {
    given[entry.key] = entry.value;
  }
  preset.dataset = given.at("dataset");
  preset.ipc = std::stoll(given.at("ipc"));
  preset.zca = given.count("zca") > 0 && given.at("zca") == "true";
  preset.family = family_of(file.name, preset.dataset, preset.ipc);
  const auto factory = methods::find_method(given.at("method")).factory();
  config::OptionTable table = factory->options();
  for (const auto& [key, value] : given) {
    if (table.contains(key)) table.set(key, value, config::Origin::Preset);
  }
  factory->settle(preset.ipc);
  preset.options = factory->options().resolved();
  return preset;
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = [] {
    std::vector<Preset> resolved;
    for (const auto& file : experiments::preset_files()) resolved.push_back(resolve(file));
    return resolved;
  }();
  return all;
}

Preset untouched(const std::string& method) {
  Preset defaults;
  defaults.name = method;
  defaults.options = methods::find_method(method).factory()->options().resolved();
  return defaults;
}

std::size_t for_each_of(const std::vector<std::string>& families,
                        const std::function<void(const Preset&)>& check) {
  std::size_t count = 0;
  for (const Preset& preset : presets()) {
    if (std::find(families.begin(), families.end(), preset.family) == families.end()) continue;
    INFO(preset.name);
    check(preset);
    ++count;
  }
  return count;
}

std::string convnet(const Preset& preset) { return preset.is_tiny() ? "ConvNet-4" : "ConvNet-3"; }

}  // namespace retort::testing
