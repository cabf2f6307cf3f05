#pragma once
// Presets as runs see them, for tests of their numbers.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace retort::testing {

/// A preset as a run would see it.
struct Preset {
  std::string name;
  std::string family;  ///< its folder: "dm", "datadam/paper", ..., or "cpu"
  std::string header;
  std::string whole;  ///< the file's text
  std::string dataset;
  std::int64_t ipc = 0;
  bool zca = false;
  std::map<std::string, std::string> options;  ///< of the method, resolved and settled

  const std::string& text(const std::string& option) const { return options.at(option); }
  double number(const std::string& option) const { return std::stod(text(option)); }
  bool is_tiny() const { return dataset == "tiny-imagenet"; }
  bool is_cifar() const { return dataset.starts_with("cifar"); }
};

/// All of them.
const std::vector<Preset>& presets();

/// What a method does when nothing is set, before an ipc is known.
Preset untouched(const std::string& method);

/// @return how many there are of these families, so that a test can tell when it looks at none
std::size_t for_each_of(const std::vector<std::string>& families,
                        const std::function<void(const Preset&)>& check);

/// "ConvNet-3", or "ConvNet-4" for the larger images of Tiny-ImageNet.
std::string convnet(const Preset& preset);

}  // namespace retort::testing
