#include "apps/commands/method_choice.h"

#include <algorithm>
#include <filesystem>

#include "apps/cli/arguments.h"
#include "experiments/protocols.h"
#include "experiments/texts.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "methods/run_folder.h"

namespace retort::commands {
namespace {

using config::Origin;

std::vector<config::ConfigEntry> preset_entries(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& file : experiments::preset_files()) {
    if (file.name == name) return config::parse_config(file.text, "preset " + name);
    known.push_back(file.name);
  }
  throw ConfigError(unknown_name_message("preset", name, known));
}

std::vector<config::ConfigEntry> config_entries(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) {
    throw ConfigError(str("option 'config': there is no file '", path, "'"));
  }
  return config::parse_config(read_text(path), path);
}

std::string value_of(const std::vector<config::ConfigEntry>& entries, const std::string& key) {
  for (const auto& entry : entries) {
    if (entry.key == key) return entry.value;
  }
  return "";
}

/// Names of the methods that have an option of this name or alias.
std::vector<std::string> methods_with(const std::string& option) {
  std::vector<std::string> names;
  for (const auto& info : methods::all_methods()) {
    if (info.factory()->options().contains(option)) names.push_back(info.name);
  }
  return names;
}

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

}  // namespace

MethodChoice::MethodChoice(const std::vector<std::string>& args) {
  const std::string preset = cli::peek_flag(args, "preset");
  const std::string config = cli::peek_flag(args, "config");
  name_ = cli::peek_flag(args, "method");
  if (name_.empty() && preset.empty() && config.empty()) add_own_file(args);
  if (!preset.empty()) {
    files_.push_back({"preset " + preset, preset_entries(preset), Origin::Preset});
  }
  if (!config.empty()) files_.push_back({config, config_entries(config), Origin::File});
  for (auto file = files_.rbegin(); name_.empty() && file != files_.rend(); ++file) {
    name_ = value_of(file->entries, "method");
  }
  if (name_.empty()) return;
  methods::find_method(name_);
  for (const auto& file : files_) check_agrees(file);
}

void MethodChoice::add_own_file(const std::vector<std::string>& args) {
  const std::string run_dir = cli::peek_flag(args, "run-dir");
  const bool resuming = std::any_of(args.begin(), args.end(), [](const std::string& word) {
    return word == "--resume" || word == "--resume=true";
  });
  if (run_dir.empty() || !resuming) return;
  const auto own = methods::stored_config(run_dir);
  if (!own) {
    throw ConfigError(str("--resume: there is no run in '", run_dir,
                          "' to go on with; with --method or --preset one would start there"));
  }
  files_.push_back({own->source, config::parse_config(own->text, own->source), Origin::File});
}

std::unique_ptr<methods::MethodFactory> MethodChoice::factory() const {
  return name_.empty() ? nullptr : methods::find_method(name_).factory();
}

void MethodChoice::check_agrees(const File& file) const {
  const std::string theirs = value_of(file.entries, "method");
  if (theirs.empty() || theirs == name_) return;
  throw ConfigError(str(file.source, " is for the method '", theirs, "', not for '", name_, "'"));
}

void MethodChoice::refuse_other_methods(const std::string& option,
                                        const config::OptionTable& known) const {
  if (name_.empty() || known.contains(option)) return;
  const std::vector<std::string> others = methods_with(option);
  if (others.empty()) return;
  throw ConfigError(str("unknown option '", option, "': the method '", name_, "' ",
                        option == "iterations" ? "makes no iterations" : "has none of this name",
                        "; an option of ", join(others)));
}

void MethodChoice::check_names(const std::vector<std::string>& args,
                               const config::OptionTable& flags,
                               const config::OptionTable& entries) const {
  for (const auto& file : files_) {
    for (const auto& entry : file.entries) {
      with_context(str(file.source, ":", entry.line),
                   [&] { refuse_other_methods(entry.key, entries); });
    }
  }
  for (const auto& word : args) {
    if (!word.starts_with("--")) continue;
    std::string option = word.substr(2, word.find('=') - 2);
    std::replace(option.begin(), option.end(), '_', '-');
    refuse_other_methods(option, flags);
  }
}

void MethodChoice::apply_files(config::OptionTable& table) const {
  for (const auto& file : files_) {
    config::apply_config(table, file.entries, file.source, file.origin);
  }
}

std::string known_methods() {
  std::vector<std::string> names;
  for (const auto& info : methods::all_methods()) names.push_back(info.name);
  return join(names);
}

void make_method_paths_absolute(config::OptionTable options) {
  for (const char* const name :
       {"init-set", "experts", "experts-dir", "teachers", "teachers-dir"}) {
    if (!options.contains(name)) continue;
    config::Option& file = options.find(name);
    if (!file.value().empty()) file.assign(absolute(file.value()));
  }
}

std::string absolute_protocol(const std::string& name_or_path) {
  const auto known = experiments::protocol_names();
  const bool named = std::find(known.begin(), known.end(), name_or_path) != known.end();
  const bool file = !named && std::filesystem::is_regular_file(name_or_path);
  return file ? absolute(name_or_path) : name_or_path;
}

bool asks_for_help(const std::vector<std::string>& args) {
  return std::any_of(args.begin(), args.end(),
                     [](const std::string& word) { return word == "--help" || word == "-h"; });
}

}  // namespace retort::commands
