#include "apps/commands/condense_options.h"

#include <algorithm>

#include "apps/cli/help.h"
#include "experiments/protocols.h"
#include "experiments/texts.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "methods/run_folder.h"

namespace retort::commands {
namespace {

using config::any_text;
using config::at_least;
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

std::string known_methods() {
  std::vector<std::string> names;
  for (const auto& info : methods::all_methods()) names.push_back(info.name);
  return join(names);
}

}  // namespace

config::OptionTable CondenseOptions::recorded_options() {
  config::OptionTable table;
  table.add("method", method, "what condenses, see `retort list methods`", any_text());
  dataset.describe(table);
  table.add("ipc", ipc, "synthetic images per class", config::in_range(std::int64_t(1), 1'000'000));
  table.add("seed", seed, "of everything random in the run", at_least(0));
  table.add("checkpoint-every", checkpoint_every,
            "iterations between checkpoints; 0: about once a minute", at_least(0));
  table.add("eval-every", eval_every,
            "iterations between checks with fresh networks during the run; 0: none", at_least(0));
  table
      .add("eval-on", eval_on,
           "what these checks test on: training images that the method then never sees, or the "
           "test split (marked so wherever the numbers go)",
           config::one_of({"held-out", "test"}))
      .not_with("eval-every", {"0"});
  table
      .add("hold-out", hold_out, "part of every class that is held out for checks during the run",
           config::in_range(0.01, 0.5))
      .not_with("eval-every", {"0"});
  table
      .add("eval-protocol", eval_protocol, "how the checks train, see `retort list protocols`",
           any_text())
      .not_with("eval-every", {"0"});
  device.describe(table);
  kernels.describe(table);
  table.add("grid-every", grid_every,
            "iterations between pictures of the set, grid-*.png, of up to 10 images of a class; 0: "
            "a tenth of the iterations asked for, none where these are fewer than 10",
            at_least(0));
  return table;
}

config::OptionTable CondenseOptions::flag_options() {
  config::OptionTable table;
  table.add("preset", preset, "a published configuration, see `retort list presets`", any_text());
  table.add("config", config,
            "a file of `option = value` lines; a run's config.cfg repeats the run", any_text());
  table.add("resume", resume, "go on with the run in --run-dir");
  table.add("force", force, "write --out even over a file that is no set");
  table.add("dry-run", dry_run, "say what the run would cost, and stop");
  return table;
}

config::OptionTable CondenseOptions::session_options() {
  config::OptionTable table;
  table.add("run-dir", run_dir, "folder for everything the run leaves; else a new one under runs/",
            any_text());
  table.add("out", out, "write the finished set here as well; a resumed run remembers it",
            any_text());
  table.add(
      "time-budget", time_budget,
      "end the iterations once the command has worked for this time (90s, 8m, 1h30m; 0: none): "
      "opening the dataset and preparation count but are never cut short, checks during the run do "
      "not count; a resumed run keeps the one it had, and what it has used of it",
      any_text());
  table.add("tensorboard", tensorboard,
            "write event files for TensorBoard into the run folder as well: metrics, checks and "
            "pictures by iterations done; a resumed run remembers it");
  return table;
}

config::OptionTable CondenseOptions::file_options() {
  config::OptionTable table = recorded_options();
  table.append(session_options());
  common.describe(table);
  if (factory) table.append(factory->options());
  return table;
}

config::OptionTable CondenseOptions::options() {
  config::OptionTable table = file_options();
  table.append(flag_options());
  return table;
}

void CondenseOptions::choose_method(const std::vector<std::string>& args) {
  preset = cli::peek_flag(args, "preset");
  config = cli::peek_flag(args, "config");
  run_dir = cli::peek_flag(args, "run-dir");
  std::string chosen = cli::peek_flag(args, "method");
  // A run that is resumed by its folder alone goes on with its own configuration.
  const bool nothing_named = chosen.empty() && preset.empty() && config.empty();
  if (nothing_named && !run_dir.empty()) {
    const bool resuming = std::any_of(args.begin(), args.end(), [](const std::string& word) {
      return word == "--resume" || word == "--resume=true";
    });
    const auto own = resuming ? methods::stored_config(run_dir) : std::nullopt;
    if (resuming && !own) {
      throw ConfigError(str("--resume: there is no run in '", run_dir,
                            "' to go on with; with --method or --preset one would start there"));
    }
    if (own) {
      files_.push_back({own->source, config::parse_config(own->text, own->source), Origin::File});
    }
  }
  if (!preset.empty()) {
    files_.push_back({"preset " + preset, preset_entries(preset), Origin::Preset});
  }
  if (!config.empty()) files_.push_back({config, config_entries(config), Origin::File});
  for (auto file = files_.rbegin(); chosen.empty() && file != files_.rend(); ++file) {
    chosen = value_of(file->entries, "method");
  }
  if (chosen.empty()) return;
  factory = methods::find_method(chosen).factory();
  method = chosen;
  for (const auto& file : files_) check_method_agrees(file.source, file.entries);
}

void CondenseOptions::check_method_agrees(const std::string& source,
                                          const std::vector<config::ConfigEntry>& entries) const {
  const std::string theirs = value_of(entries, "method");
  if (theirs.empty() || theirs == method) return;
  throw ConfigError(str(source, " is for the method '", theirs, "', not for '", method, "'"));
}

void CondenseOptions::refuse_other_methods(const std::string& name,
                                           const config::OptionTable& known) const {
  if (!factory || known.contains(name)) return;
  const std::vector<std::string> others = methods_with(name);
  if (others.empty()) return;
  throw ConfigError(str("unknown option '", name, "': the method '", method, "' ",
                        name == "iterations" ? "makes no iterations" : "has none of this name",
                        "; an option of ", join(others)));
}

void CondenseOptions::check_names(const std::vector<std::string>& args,
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
    std::string name = word.substr(2, word.find('=') - 2);
    std::replace(name.begin(), name.end(), '_', '-');
    refuse_other_methods(name, flags);
  }
}

void CondenseOptions::make_paths_absolute() {
  const auto absolute = [](const std::string& path) {
    return std::filesystem::absolute(path).lexically_normal().string();
  };
  const auto known = experiments::protocol_names();
  const bool named = std::find(known.begin(), known.end(), eval_protocol) != known.end();
  if (!named && std::filesystem::is_regular_file(eval_protocol)) {
    eval_protocol = absolute(eval_protocol);
  }
  if (!factory) return;
  config::OptionTable own = factory->options();
  for (const char* const name :
       {"init-set", "experts", "experts-dir", "teachers", "teachers-dir"}) {
    if (!own.contains(name)) continue;
    config::Option& file = own.find(name);
    if (!file.value().empty()) file.assign(absolute(file.value()));
  }
}

CondenseOptions::CondenseOptions(const cli::Command& command,
                                 const std::vector<std::string>& args) {
  choose_method(args);
  const bool asks_for_help = std::any_of(args.begin(), args.end(), [](const std::string& word) {
    return word == "--help" || word == "-h";
  });
  if (!factory && !asks_for_help) {
    throw ConfigError(
        str("which method? Give --method NAME or --preset NAME; known: ", known_methods()));
  }
  config::OptionTable table = file_options();
  config::OptionTable all = options();
  check_names(args, all, table);
  const cli::Arguments arguments = cli::parse_arguments(args, all);
  help = arguments.help;
  cli::check_words(command, {}, arguments.words);
  for (const auto& file : files_) {
    config::apply_config(table, file.entries, file.source, file.origin);
  }
  cli::apply_flags(all, arguments);
  make_paths_absolute();
}

std::string CondenseOptions::replay_text() {
  config::OptionTable table = recorded_options();
  DatasetOptions::leave_out_machine(table);
  // Bits depend on the number of threads.
  table.add("threads", common.threads, "", at_least(0));
  table.append(factory->options());
  return config::config_text(table);
}

std::string CondenseOptions::help_text(const cli::Command& command) {
  config::OptionTable around = recorded_options();
  around.append(session_options());
  around.append(flag_options());
  common.describe(around);
  std::string text = cli::help_page(command, around);
  if (!factory) {
    return text + str("\nEvery method has options of its own: retort condense --method NAME --help",
                      "\nMethods: ", cli::wrapped(known_methods(), 100, 9), "\n");
  }
  const methods::MethodInfo& info = methods::find_method(method);
  return text + "\n" +
         cli::options_help(str("Options of ", method, " (", info.title, "; ", info.paper, ")"),
                           factory->options());
}

}  // namespace retort::commands
