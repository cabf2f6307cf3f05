#include "apps/commands/condense_options.h"

#include "apps/cli/help.h"
#include "apps/commands/method_choice.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

using config::any_text;
using config::at_least;

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

void CondenseOptions::make_paths_absolute() {
  eval_protocol = absolute_protocol(eval_protocol);
  if (factory) make_method_paths_absolute(factory->options());
}

CondenseOptions::CondenseOptions(const cli::Command& command,
                                 const std::vector<std::string>& args) {
  const MethodChoice choice(args);
  method = choice.name();
  factory = choice.factory();
  if (!factory && !asks_for_help(args)) {
    throw ConfigError(
        str("which method? Give --method NAME or --preset NAME; known: ", known_methods()));
  }
  config::OptionTable table = file_options();
  config::OptionTable all = options();
  choice.check_names(args, all, table);
  const cli::Arguments arguments = cli::parse_arguments(args, all);
  help = arguments.help;
  cli::check_words(command, {}, arguments.words);
  choice.apply_files(table);
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
