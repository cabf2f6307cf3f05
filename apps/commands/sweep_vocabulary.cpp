#include "apps/commands/sweep_vocabulary.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "apps/commands/commands.h"
#include "datasets/dataset.h"
#include "experiments/protocols.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

using sweep::Stage;

/// What a sweep decides itself.
bool is_reserved(Stage stage, const std::string& key) {
  const std::vector<std::string> own =
      stage == Stage::Condense ? std::vector<std::string>{"run-dir", "out",   "resume", "force",
                                                          "dry-run", "quiet", "json"}
                               : std::vector<std::string>{"out", "force", "quiet", "json"};
  return std::find(own.begin(), own.end(), key) != own.end();
}

/// Names whose rules no table knows.
void check_name(const std::string& key, const std::string& value) {
  if (key == "method") methods::find_method(value);
  if (key == "protocol") experiments::load_protocol(value);
}

/// As the registry spells them.
void name_datasets(const std::string& key, std::vector<std::string>& values) {
  if (key != "dataset") return;
  for (auto& value : values) value = datasets::find_dataset(value).name;
}

}  // namespace

std::vector<std::string> flags_of(const sweep::Options& options) {
  std::vector<std::string> flags;
  for (const auto& [key, value] : options) {
    if (!value.empty()) flags.push_back(str("--", key, "=", value));
  }
  return flags;
}

SweepVocabulary::SweepVocabulary()
    : condense_(condense(), {"--help"}), common_(condense_.options()) {
  for (const auto& info : methods::all_methods()) {
    Method method{info.name, info.factory(), {}};
    method.table = method.factory->options();
    methods_.push_back(std::move(method));
  }
}

std::vector<config::OptionTable*> SweepVocabulary::tables_with(Stage stage,
                                                               const std::string& key) {
  std::vector<config::OptionTable*> tables;
  if (stage == Stage::Evaluate) {
    if (evaluate_.table().contains(key)) tables.push_back(&evaluate_.table());
    return tables;
  }
  if (common_.contains(key)) tables.push_back(&common_);
  for (auto& method : methods_) {
    if (method.table.contains(key)) tables.push_back(&method.table);
  }
  return tables;
}

void SweepVocabulary::refuse_unknown(Stage stage, const std::string& key) const {
  std::vector<std::string> known;
  const auto add = [&](const config::OptionTable& table) {
    for (const auto& option : table.options()) {
      if (!is_reserved(stage, option.name)) known.push_back(option.name);
    }
  };
  if (stage == Stage::Evaluate) {
    EvaluateWords words;
    add(words.table());
  } else {
    add(common_);
    for (const auto& method : methods_) add(method.table);
  }
  const std::string nearest = nearest_name(key, known);
  throw ConfigError(str("unknown option '", key, "' of ", stage_name(stage),
                        nearest.empty() ? str("; see retort ", stage_name(stage), " --help")
                                        : str("; did you mean '", nearest, "'?")));
}

std::string SweepVocabulary::canonical(Stage stage, const std::string& key) {
  const auto tables = tables_with(stage, key);
  if (tables.empty()) refuse_unknown(stage, key);
  const std::string name = tables.front()->find(key).name;
  if (!is_reserved(stage, name)) return name;
  throw ConfigError(
      str("option '", key, "' of ", stage_name(stage), " is set by the sweep itself"));
}

void SweepVocabulary::check_values(Stage stage, const sweep::Setting& setting) {
  for (const auto& value : setting.values) {
    check_name(setting.key, value);
    if (value.empty()) continue;
    // Methods may accept different things; a cell's own is asked once the cells are known.
    std::optional<ConfigError> refusal;
    bool accepted = false;
    for (auto* const table : tables_with(stage, setting.key)) {
      try {
        table->set(setting.key, value, config::Origin::File);
        accepted = true;
      } catch (const ConfigError& e) {
        refusal = e;
      }
    }
    if (!accepted && refusal) throw ConfigError(*refusal);
  }
}

void SweepVocabulary::name_keys(sweep::Section& section) {
  for (auto& condition : section.conditions) {
    const bool of_run =
        section.stage == Stage::Condense || tables_with(Stage::Evaluate, condition.key).empty();
    condition.key = canonical(of_run ? Stage::Condense : Stage::Evaluate, condition.key);
    name_datasets(condition.key, condition.values);
  }
}

void SweepVocabulary::check(sweep::SweepFile& file) {
  const auto at = [&](int line) { return str(file.source, ":", line); };
  for (auto& section : file.sections) {
    with_context(at(section.line), [&] { name_keys(section); });
    std::map<std::string, int> seen;
    for (auto& setting : section.settings) {
      with_context(at(setting.line), [&] {
        setting.key = canonical(section.stage, setting.key);
        const auto [first, is_new] = seen.emplace(setting.key, setting.line);
        if (!is_new) {
          throw ConfigError(str("'", setting.key, "' is already set in line ", first->second));
        }
        name_datasets(setting.key, setting.values);
      });
    }
  }
  keep_lists_together(file,
                      [&](Stage stage, const std::string& key) { return takes_list(stage, key); });
  for (const auto& section : file.sections) {
    for (const auto& setting : section.settings) {
      with_context(at(setting.line), [&] { check_values(section.stage, setting); });
    }
  }
}

bool SweepVocabulary::takes_list(Stage stage, const std::string& key) {
  const auto tables = tables_with(stage, key);
  return !tables.empty() && tables.front()->find(key).range.starts_with("list");
}

std::string SweepVocabulary::method_of(const sweep::Options& condense) const {
  const std::string named = sweep::value_of(condense, "method");
  if (!named.empty()) return named;
  sweep::Options sources;
  for (const char* const key : {"preset", "config"}) {
    sources.emplace_back(key, sweep::value_of(condense, key));
  }
  return CondenseOptions(commands::condense(), flags_of(sources)).method;
}

bool SweepVocabulary::applies(const sweep::Options& condense, const std::string& key) {
  if (common_.contains(key)) return true;
  const std::string name = method_of(condense);
  return std::any_of(methods_.begin(), methods_.end(), [&](const Method& method) {
    return method.name == name && method.table.contains(key);
  });
}

std::vector<std::string> SweepVocabulary::methods_with(const std::string& key) const {
  std::vector<std::string> names;
  for (const auto& method : methods_) {
    if (method.table.contains(key)) names.push_back(method.name);
  }
  return names;
}

}  // namespace retort::commands
