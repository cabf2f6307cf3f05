#include <optional>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/preset_cost.h"
#include "datasets/dataset.h"
#include "experiments/cross_arch/pools.h"
#include "experiments/protocols.h"
#include "experiments/texts.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/synth/parametrization.h"
#include "methods/method.h"

namespace retort::commands {
namespace {

using Entries = nlohmann::ordered_json;
using Row = std::vector<std::string>;

/// Entries are objects whose fields stand in the order of the columns.
Entries method_entries() {
  Entries entries = Entries::array();
  for (const auto& info : methods::all_methods()) {
    entries.push_back({{"name", info.name},
                       {"title", info.title},
                       {"paper", info.paper},
                       {"summary", info.summary}});
  }
  return entries;
}

Entries dataset_entries() {
  Entries entries = Entries::array();
  for (const auto& entry : datasets::all_datasets()) {
    entries.push_back(
        {{"name", entry.name}, {"description", entry.description}, {"aliases", entry.aliases}});
  }
  return entries;
}

Entries network_entries() {
  Entries entries = Entries::array();
  for (const auto& family : nn::network_families()) {
    entries.push_back(
        {{"name", family.name}, {"pattern", family.pattern}, {"description", family.description}});
  }
  return entries;
}

Entries protocol_entries() {
  Entries entries = Entries::array();
  for (const auto& name : experiments::protocol_names()) {
    entries.push_back({{"name", name}, {"source", experiments::load_protocol(name).source}});
  }
  return entries;
}

Entries pool_entries() {
  Entries entries = Entries::array();
  for (const auto& pool : experiments::pools()) {
    entries.push_back(
        {{"name", pool.name}, {"source", pool.source}, {"networks", join(pool.networks)}});
  }
  return entries;
}

/// The comment that a preset file opens with says where its numbers come from.
std::string first_comment(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  if (!line.starts_with('#')) return "";
  return line.substr(std::min(line.size(), line.find_first_not_of("# ")));
}

constexpr const char* kTime = "predicted_seconds";

Entries preset_entries() {
  Entries entries = Entries::array();
  for (const auto& file : experiments::preset_files()) {
    entries.push_back(
        {{"name", file.name}, {kTime, nullptr}, {"source", first_comment(file.text)}});
  }
  return entries;
}

/// Measures how fast this machine is, which takes far longer than the list.
/// @param entries some of preset_entries
void predict_times(Entries& entries) {
  set_thread_count(0);  // what a run would use
  for (auto& entry : entries) {
    for (const auto& file : experiments::preset_files()) {
      if (entry["name"] != file.name) continue;
      if (const auto seconds = predicted_seconds(file)) entry[kTime] = *seconds;
    }
  }
}

Entries parametrization_entries() {
  Entries entries = Entries::array();
  for (const auto& info : synth::parametrizations()) {
    entries.push_back({{"name", info.name}, {"description", info.description}});
  }
  return entries;
}

/// Whether a text of the entry contains `part`, in whatever case.
bool contains(const Entries& entry, const std::string& part) {
  for (const auto& [name, value] : entry.items()) {
    const auto texts = value.is_array() ? value.get<Row>() : value.is_string() ? Row{value} : Row{};
    for (const auto& text : texts) {
      if (lower_case(text).find(lower_case(part)) != std::string::npos) return true;
    }
  }
  return false;
}

void keep_matching(Entries& entries, const std::string& part) {
  if (part.empty()) return;
  Entries kept = Entries::array();
  for (auto& entry : entries) {
    if (contains(entry, part)) kept.push_back(std::move(entry));
  }
  entries = std::move(kept);
}

/// Texts as they are, a number as a time, a list as other names in the column before it.
Row row_of(const Entries& entry, bool with_times) {
  Row row;
  for (const auto& [name, value] : entry.items()) {
    if (name == kTime && !with_times) continue;
    if (value.is_string()) {
      row.push_back(value.get<std::string>());
    } else if (value.is_array()) {
      if (!value.empty()) row.back() += str(" (also ", join(value.get<Row>()), ")");
    } else {
      row.push_back(value.is_null() ? "-" : "about " + duration_text(value.get<double>()));
    }
  }
  return row;
}

const std::vector<std::pair<std::string, Entries (*)()>>& lists() {
  static const std::vector<std::pair<std::string, Entries (*)()>> all = {
      {"methods", method_entries},
      {"datasets", dataset_entries},
      {"networks", network_entries},
      {"pools", pool_entries},
      {"protocols", protocol_entries},
      {"presets", preset_entries},
      {"parametrizations", parametrization_entries},
  };
  return all;
}

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (const auto& [name, entries] : lists()) names.push_back(name);
  return names;
}

void print_list(const std::string& kind, const Entries& entries, bool json, bool with_times) {
  if (json) {
    print_document({{"schema", "retort.list/1"}, {"kind", kind}, {"entries", entries}});
    return;
  }
  std::vector<Row> rows;
  for (const auto& entry : entries) rows.push_back(row_of(entry, with_times));
  cli::print(columns(rows));
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  cli::OutputOptions output;
  bool times = false;
  std::string match;
  config::OptionTable table;
  table.add("match", match, "only lines with this text in them, whatever its case",
            config::any_text());
  table.add("times", times,
            "presets: how long each is predicted to take here, which measures this machine first");
  const auto kind = cli::parse_one_word(command, args, table, output, "KIND", program);
  if (!kind) return 0;
  for (const auto& [name, make_entries] : lists()) {
    if (name != *kind) continue;
    if (times && name != "presets") {
      throw ConfigError(str("option 'times' is for `retort list presets`, found '", name, "'"));
    }
    Entries entries = make_entries();
    keep_matching(entries, match);
    if (times) predict_times(entries);
    print_list(name, entries, output.json, times);
    return 0;
  }
  throw ConfigError(unknown_name_message("list", *kind, kinds()));
}

}  // namespace

cli::Command list() {
  return {"list",
          "Shows what there is, one line each: methods, datasets, networks, pools of networks, "
          "protocols, "
          "presets or parametrizations.",
          str("(", join(kinds(), " | "), ")"),
          {"retort list methods", "retort list presets --match mtt/ --times"},
          run};
}

}  // namespace retort::commands
