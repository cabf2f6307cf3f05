#include "apps/commands/nas_options.h"

#include <algorithm>
#include <filesystem>

#include "apps/commands/method_choice.h"
#include "experiments/protocols.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using config::any_text;
using config::in_range;

constexpr std::int64_t kMany = 1'000'000;

/// The grid refuses what it does not know, naming what it does.
config::Rule<std::int64_t> any_number() {
  return {"", [](const std::int64_t&) { return true; }};
}

}  // namespace

void NasOptions::describe_grid(config::OptionTable& table) {
  table.add("widths", grid.widths, "of the ConvNets searched: channels of a block", any_number());
  table.add("depths", grid.depths, "their blocks", any_number());
  table.add("norms", grid.norms, "their norms", any_text());
  table.add("activations", grid.activations, "their activations", any_text());
  table.add("poolings", grid.poolings, "their poolings", any_text());
}

void NasOptions::describe_proxies(config::OptionTable& table) {
  table.add("proxies", proxies,
            "what networks are tried on: methods that condense a set for it, see `retort list "
            "methods`, and early-stopping, all training images for as many steps",
            any_text());
  table.add("sets", sets, "set files to try networks on besides", any_text());
  table.add("method-set", method_changes,
            "change options of methods, as in dm:iterations=300,herding:feature-epochs=5",
            any_text());
  table.add("ipc", ipc, "images per class of condensed sets", in_range(std::int64_t{1}, kMany));
  table.add("epochs", epochs, "of networks on proxies", in_range(std::int64_t{1}, kMany));
  table.add("seeds", seeds, "networks of every architecture on every proxy",
            in_range(std::int64_t{1}, 10'000));
  table.add("protocol", protocol,
            "how networks are trained, but for the epochs: a name or a file, see `retort list "
            "protocols`",
            any_text());
  table.add("protocol-set", protocol_changes,
            "change options of the protocol, as in augmentation=none; its name says so",
            any_text());
  table.add("hold-out", hold_out,
            "part of every class's training images that no proxy sees and all are scored on",
            in_range(0.01, 0.5));
}

void NasOptions::describe_reference(config::OptionTable& table) {
  table.add("reference-images-per-class", reference_images_per_class,
            "a seeded subset of the training images in the place of all, for trying things; 0: all",
            config::at_least(0));
  table.add("reference-epochs", reference_epochs, "of networks on them",
            in_range(std::int64_t{1}, kMany));
  table.add(
      "reference-seeds", reference_seeds,
      "networks of every architecture on them; from 2 on they tell how reliable the ranking is",
      in_range(std::int64_t{1}, 10'000));
  table.add("top", top,
            "rankings are compared over so many architectures that a proxy puts first, too; none "
            "given: 5 % of them, 10 and 20",
            in_range(std::int64_t{2}, kMany));
}

config::OptionTable NasOptions::recorded_options() {
  config::OptionTable table;
  dataset.describe(table);
  describe_grid(table);
  describe_proxies(table);
  describe_reference(table);
  table.add("seed", seed, "of condensing, and of what is held out; networks have numbers as seeds",
            config::at_least(0));
  device.describe(table);
  kernels.describe(table);
  return table;
}

config::OptionTable NasOptions::session_options() {
  config::OptionTable table;
  session.describe(table, "search");
  return table;
}

NasOptions::NasOptions(const cli::Command& command, const std::vector<std::string>& args) {
  config::OptionTable recorded = recorded_options();
  config::OptionTable all = recorded_options();
  all.append(session_options());
  common.describe(all);
  const cli::Arguments arguments = cli::parse_arguments(args, all);
  help = arguments.help;
  cli::check_words(command, {}, arguments.words);
  if (help) return;
  apply_file(recorded, args);
  cli::apply_flags(all, arguments);
  protocol = absolute_protocol(protocol);
  for (std::string& set : sets) set = fs::absolute(set).lexically_normal().string();
}

void NasOptions::apply_file(config::OptionTable& table,
                            const std::vector<std::string>& args) const {
  std::string file = cli::peek_flag(args, "config");
  if (!file.empty() && !fs::is_regular_file(file)) {
    throw ConfigError(str("option 'config': there is no file '", file, "'"));
  }
  const bool resuming = std::any_of(args.begin(), args.end(), [](const std::string& word) {
    return word == "--resume" || word == "--resume=true";
  });
  const fs::path own = fs::path(cli::peek_flag(args, "run-dir")) / "config.cfg";
  if (file.empty() && resuming && own.has_parent_path()) {
    if (!fs::is_regular_file(own)) {
      throw ConfigError(str("--resume: there is no search in '", own.parent_path().string(),
                            "' to go on with; without it one would start there"));
    }
    file = own.string();
  }
  if (file.empty()) return;
  config::apply_config(table, config::parse_config(read_text(file), file), file,
                       config::Origin::File);
}

eval::Protocol NasOptions::opened_protocol(std::int64_t with_epochs) const {
  for (const std::string& change : protocol_changes) {
    if (!change.starts_with("epochs=")) continue;
    throw ConfigError(
        str("option 'protocol-set': epochs have options of their own, --epochs and "
            "--reference-epochs; found '",
            change, "'"));
  }
  std::vector<std::string> changes = protocol_changes;
  changes.push_back(str("epochs=", with_epochs));
  eval::Protocol opened = with_context(str("with ", with_epochs, " epochs"), [&] {
    return eval::changed(experiments::load_protocol(protocol), changes);
  });
  if (opened.ranks()) {
    throw ConfigError(str("option 'protocol': '", protocol,
                          "' ends in a score of a set, which says nothing of an architecture"));
  }
  if (!opened.taught()) return opened;
  throw ConfigError(str("option 'protocol': '", protocol,
                        "' trains on labels of teachers, which a search has not"));
}

std::string NasOptions::help_text(const cli::Command& command) {
  config::OptionTable table = recorded_options();
  table.append(session_options());
  common.describe(table);
  return cli::help_page(command, table);
}

std::string NasOptions::replay_text() {
  config::OptionTable table = recorded_options();
  DatasetOptions::leave_out_machine(table);
  return config::config_text(table);
}

}  // namespace retort::commands
