#include <functional>
#include <optional>
#include <sstream>

#include "apps/cli/help.h"
#include "apps/commands/commands.h"
#include "apps/commands/preset_cost.h"
#include "datasets/dataset.h"
#include "lib/config/embedded.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/eval/protocol.h"
#include "lib/nn/network.h"
#include "lib/synth/parametrization.h"
#include "methods/method.h"
#include "methods/prediction.h"

namespace retort::commands {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows method_rows() {
  Rows rows;
  for (const auto& info : methods::all_methods()) {
    rows.push_back({info.name, info.title, info.paper, info.summary});
  }
  return rows;
}

Rows dataset_rows() {
  Rows rows;
  for (const auto& entry : datasets::all_datasets()) {
    rows.push_back(
        {entry.name, entry.description +
                         (entry.aliases.empty() ? "" : str(" (also ", join(entry.aliases), ")"))});
  }
  return rows;
}

Rows network_rows() {
  Rows rows;
  for (const auto& family : nn::network_families()) {
    rows.push_back({family.name, family.pattern, family.description});
  }
  return rows;
}

Rows protocol_rows() {
  Rows rows;
  for (const auto& name : eval::protocol_names()) {
    rows.push_back({name, eval::load_protocol(name).source});
  }
  return rows;
}

/// The comment that a preset file opens with says where its numbers come from.
std::string first_comment(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  if (!line.starts_with('#')) return "";
  return line.substr(std::min(line.size(), line.find_first_not_of("# ")));
}

Rows preset_rows() {
  set_thread_count(0);  // what a run would use
  Rows rows;
  for (const auto& file : config::embedded_presets()) {
    const std::optional<double> seconds = predicted_seconds(file);
    rows.push_back({file.name,
                    seconds ? str("about ", methods::duration_text(*seconds)) : std::string("-"),
                    first_comment(file.text)});
  }
  return rows;
}

Rows parametrization_rows() {
  Rows rows;
  for (const auto& info : synth::parametrizations()) {
    rows.push_back({info.name, info.description});
  }
  return rows;
}

const std::vector<std::pair<std::string, std::function<Rows()>>>& lists() {
  static const std::vector<std::pair<std::string, std::function<Rows()>>> all = {
      {"methods", method_rows},   {"datasets", dataset_rows},
      {"networks", network_rows}, {"protocols", protocol_rows},
      {"presets", preset_rows},   {"parametrizations", parametrization_rows},
  };
  return all;
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program&) {
  config::OptionTable table;
  const auto words = cli::parse_command(command, args, table, {{"KIND"}, 1});
  if (!words) return 0;
  std::vector<std::string> known;
  for (const auto& [name, rows] : lists()) {
    if (name == words->front()) {
      cli::print(cli::columns(rows()));
      return 0;
    }
    known.push_back(name);
  }
  throw ConfigError(unknown_name_message("list", words->front(), known));
}

}  // namespace

cli::Command list() {
  return {"list",
          "Shows what there is, one line each: methods, datasets, networks, protocols, presets or "
          "parametrizations.",
          "KIND",
          {"retort list methods", "retort list presets"},
          run};
}

}  // namespace retort::commands
