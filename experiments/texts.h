#pragma once
// The protocols and presets that are compiled into the program (experiments/files.cmake).

#include <string>
#include <vector>

namespace retort::experiments {

/// A text file compiled into the program.
struct TextFile {
  std::string name;  ///< path inside its folder without extension: "dm/cifar10-ipc10"
  std::string text;
};

const std::vector<TextFile>& protocol_files();  ///< experiments/protocols
const std::vector<TextFile>& preset_files();    ///< experiments/presets

}  // namespace retort::experiments
