#include "apps/commands/continual_options.h"

#include <algorithm>
#include <cmath>

#include "apps/cli/help.h"
#include "apps/commands/method_choice.h"
#include "experiments/protocols.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

using config::any_text;
using config::in_range;

constexpr std::int64_t kMany = 1'000'000;

/// Networks that a method asks know all classes from the beginning; there are none for a step.
bool works_in_steps(methods::MethodFactory& factory) {
  const config::OptionTable options = factory.options();
  return !options.contains("experts") && !options.contains("teachers");
}

/// Of the protocol with these changes, before it is known where its step size drops.
std::int64_t epochs_of(const std::string& protocol, std::vector<std::string> changes) {
  changes.insert(changes.begin(), "drop-epochs=");
  return eval::changed(experiments::load_protocol(protocol), changes).epochs;
}

std::string methods_for_steps() {
  std::vector<std::string> names;
  for (const auto& info : methods::all_methods()) {
    if (works_in_steps(*info.factory())) names.push_back(info.name);
  }
  return join(names);
}

}  // namespace

config::OptionTable ContinualOptions::recorded_options() {
  config::OptionTable table;
  table.add("method", method, "what condenses the classes of a step, see `retort list methods`",
            any_text());
  dataset.describe(table);
  table.add(
      "variant", variant,
      "gdumb: fresh networks in every step, with outputs for all classes from the start; idc: "
      "networks are kept and get outputs for the new classes (Kim et al., ICML 2022), with "
      "defaults of its own: one order, protocol idc with drops after 0.6 and 0.8 of the epochs; "
      "images are preprocessed as everywhere, not by the constants of their code for this alone",
      config::one_of({"gdumb", "idc"}));
  table.add("steps", steps, "in which the classes come, equally many in each",
            in_range(std::int64_t{1}, kMany));
  table.add("orders", orders,
            "of the classes that are gone through: the permutations of NumPy's legacy generator "
            "with seeds 0, 1, ...",
            in_range(std::int64_t{1}, 10'000));
  table.add("ipc", ipc, "synthetic images per class", in_range(std::int64_t{1}, kMany));
  table.add("runs", runs, "fresh networks in every step of every order",
            in_range(std::int64_t{1}, 10'000));
  table.add("protocol", protocol,
            "how networks are trained on the memory and tested: a name or a file, see "
            "`retort list protocols`",
            any_text());
  table.add("protocol-set", protocol_changes,
            "change options of the protocol, as in epochs=200,net=ConvNet-3-w64; its name says so",
            any_text());
  table.add("hold-out", hold_out,
            "test on this part of every class's training images, which nothing else then sees, "
            "instead of the test images: for choosing settings",
            share_or_none());
  table.add("seed", seed, "of condensing; networks have numbers of their own as seeds",
            config::at_least(0));
  device.describe(table);
  kernels.describe(table);
  return table;
}

config::OptionTable ContinualOptions::session_options() {
  config::OptionTable table;
  session.describe(table, "study");
  table.add("preset", preset, "a published configuration of the method, see `retort list presets`",
            any_text());
  return table;
}

ContinualOptions::ContinualOptions(const cli::Command& command,
                                   const std::vector<std::string>& args) {
  const MethodChoice choice(args);
  method = choice.name();
  factory = choice.factory();
  if (factory) refuse_method();
  if (!factory && !asks_for_help(args)) {
    throw ConfigError(str("which method? Give --method NAME or --preset NAME; possible are ",
                          methods_for_steps()));
  }
  config::OptionTable entries = recorded_options();
  common.describe(entries);
  if (factory) entries.append(factory->options());
  config::OptionTable all = entries;
  all.append(session_options());
  choice.check_names(args, all, entries);
  const cli::Arguments arguments = cli::parse_arguments(args, all);
  help = arguments.help;
  cli::check_words(command, {}, arguments.words);
  choice.apply_files(entries);
  cli::apply_flags(all, arguments);
  settle_variant(entries, all);
  protocol = absolute_protocol(protocol);
  if (factory) make_method_paths_absolute(factory->options());
}

void ContinualOptions::settle_variant(const config::OptionTable& files,
                                      const config::OptionTable& flags) {
  if (variant != "idc") return;
  const auto in = [](const config::OptionTable& table, const std::string& name) {
    return std::any_of(table.options().begin(), table.options().end(), [&](const auto& option) {
      return option.name == name && option.origin != config::Origin::Default;
    });
  };
  const auto unsaid = [&](const std::string& name) { return !in(files, name) && !in(flags, name); };
  if (unsaid("orders")) orders = 1;
  if (!unsaid("protocol")) return;
  protocol = "idc";
  const auto mentioned = [&](const std::string& name) {
    return std::any_of(protocol_changes.begin(), protocol_changes.end(),
                       [&](const std::string& change) { return change.starts_with(name + "="); });
  };
  const std::vector<std::string> asked = protocol_changes;
  if (!mentioned("test-every")) protocol_changes.insert(protocol_changes.begin(), "test-every=0");
  if (mentioned("drop-epochs") || mentioned("schedule")) return;
  // Of the paper's 1000 epochs after 600 and 800.
  const std::int64_t epochs = epochs_of(protocol, asked);
  const auto after = [&](double part) {
    return str(std::max<std::int64_t>(1, std::llround(part * double(epochs))));
  };
  protocol_changes.insert(protocol_changes.begin(), {"drop-epochs=" + after(0.6), after(0.8)});
}

void ContinualOptions::refuse_method() const {
  if (works_in_steps(*factory)) return;
  throw ConfigError(str("the method '", method, "' follows networks that were trained before; in ",
                        "steps there would have to be some for the classes of each. Possible are ",
                        methods_for_steps()));
}

eval::Protocol ContinualOptions::opened_protocol() const {
  eval::Protocol opened = eval::changed(experiments::load_protocol(protocol), protocol_changes);
  if (!opened.taught()) return opened;
  throw ConfigError(str("option 'protocol': '", protocol,
                        "' trains on labels of teachers, which know all classes from the "
                        "beginning"));
}

std::string ContinualOptions::replay_text() {
  config::OptionTable table = recorded_options();
  DatasetOptions::leave_out_machine(table);
  // Bits depend on the number of threads.
  table.add("threads", common.threads, "", config::at_least(0));
  table.append(factory->options());
  return config::config_text(table);
}

std::string ContinualOptions::help_text(const cli::Command& command) {
  config::OptionTable around = recorded_options();
  around.append(session_options());
  common.describe(around);
  const std::string text = cli::help_page(command, around);
  if (!factory) {
    return text + str("\nEvery method has options of its own: retort continual --method NAME "
                      "--help\nMethods: ",
                      cli::wrapped(methods_for_steps(), 100, 9), "\n");
  }
  const methods::MethodInfo& info = methods::find_method(method);
  return text + "\n" +
         cli::options_help(str("Options of ", method, " (", info.title, "; ", info.paper, ")"),
                           factory->options());
}

}  // namespace retort::commands
