#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/texts.h"
#include "lib/config/options.h"
#include "lib/core/files.h"
#include "methods/method.h"
#include "tests/support/catch.h"

using namespace retort;
using experiments::TextFile;
namespace fs = std::filesystem;

namespace {

/// Names and texts of the files below `folder`, sorted by name.
std::vector<std::pair<std::string, std::string>> files_in(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".cfg") continue;
    const fs::path name = fs::relative(entry.path(), folder).replace_extension();
    files.emplace_back(name.generic_string(), read_text(entry.path()));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::pair<std::string, std::string>> sorted(const std::vector<TextFile>& compiled) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& file : compiled) files.emplace_back(file.name, file.text);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("every file of protocols and presets is compiled in as it is", "[experiments]") {
  const fs::path root = RETORT_EXPERIMENTS_DIR;
  CHECK(sorted(experiments::protocol_files()) == files_in(root / "protocols"));
  CHECK(sorted(experiments::preset_files()) == files_in(root / "presets"));
}

TEST_CASE("every preset sets options that its method has to values it accepts",
          "[experiments][presets]") {
  const std::vector<std::string> around{"method", "dataset", "images-per-class", "ipc", "zca"};
  for (const auto& file : experiments::preset_files()) {
    INFO(file.name);
    CHECK(file.text.starts_with("# "));  // where its numbers come from
    const auto entries = config::parse_config(file.text, file.name);
    const auto method = std::find_if(entries.begin(), entries.end(),
                                     [](const auto& entry) { return entry.key == "method"; });
    REQUIRE(method != entries.end());
    const auto factory = methods::find_method(method->value).factory();
    config::OptionTable options = factory->options();
    for (const auto& entry : entries) {
      if (std::find(around.begin(), around.end(), entry.key) != around.end()) continue;
      CHECK_NOTHROW(options.set(entry.key, entry.value, config::Origin::Preset));
    }
  }
}
