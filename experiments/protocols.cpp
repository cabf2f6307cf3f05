#include "experiments/protocols.h"

#include <cctype>
#include <filesystem>
#include <map>

#include "experiments/texts.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::experiments {
namespace {

/// Names stand in tables and in the names of result files.
std::string tame(std::string name) {
  constexpr std::size_t kLongest = 60;
  const auto harmless = [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_');
  };
  for (char& c : name) {
    if (!harmless(static_cast<unsigned char>(c))) c = '_';
  }
  return name.substr(0, kLongest);
}

/// What decides an accuracy: every option but where the protocol comes from.
std::map<std::string, std::string> recipe(eval::Protocol protocol) {
  config::OptionTable table;
  protocol.describe(table);
  auto options = table.resolved();
  options.erase("source");
  return options;
}

eval::Protocol from_file(const std::filesystem::path& path) {
  const std::string source = str("'", path.string(), "'");
  const eval::Protocol protocol =
      eval::parse_protocol(tame(path.stem().string()), read_text(path), source);
  for (const auto& file : protocol_files()) {
    if (file.name != protocol.name) continue;
    const eval::Protocol known = eval::parse_protocol(file.name, file.text, file.name);
    if (recipe(known) == recipe(protocol)) continue;
    throw ConfigError(str(source, ": its accuracies would pass for those of the protocol '",
                          file.name, "', which has other options; give the file another name"));
  }
  return protocol;
}

}  // namespace

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
  return from_file(path);
}

std::vector<std::string> protocol_names() {
  std::vector<std::string> names;
  for (const auto& file : protocol_files()) names.push_back(file.name);
  return names;
}

}  // namespace retort::experiments
