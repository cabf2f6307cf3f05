#include "experiments/protocols.h"

#include <filesystem>

#include "experiments/texts.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::experiments {

eval::Protocol load_protocol(const std::string& name_or_path) {
  for (const auto& file : protocol_files()) {
    if (file.name == name_or_path) {
      return eval::parse_protocol(file.name, file.text, str("protocol ", file.name));
    }
  }
  const std::filesystem::path path(name_or_path);
  const bool looks_like_path = path.has_parent_path() || path.has_extension();
  if (!std::filesystem::is_regular_file(path) && !looks_like_path) {
    throw ConfigError(unknown_name_message("protocol", name_or_path, protocol_names()) +
                      "; or the path of a file");
  }
  return eval::parse_protocol(path.stem().string(), read_text(path), str("'", name_or_path, "'"));
}

std::vector<std::string> protocol_names() {
  std::vector<std::string> names;
  for (const auto& file : protocol_files()) names.push_back(file.name);
  return names;
}

}  // namespace retort::experiments
