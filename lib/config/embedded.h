#pragma once

#include <string>
#include <vector>

namespace retort::config {

/// A text file compiled into the program.
struct EmbeddedFile {
  std::string name;  ///< path inside its folder without extension: "dm/cifar10-ipc10"
  std::string text;
};

const std::vector<EmbeddedFile>& embedded_protocols();  ///< experiments/protocols
const std::vector<EmbeddedFile>& embedded_presets();    ///< experiments/presets

}  // namespace retort::config
