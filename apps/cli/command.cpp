#include "apps/cli/command.h"

#include <iostream>
#include <thread>

#include "apps/cli/help.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "retort_version.h"

namespace retort::cli {

void OutputOptions::describe(config::OptionTable& table) {
  table.add("quiet", quiet, "no progress and no information on stderr");
  table.add("json", json, "one JSON document on stdout instead of text");
}

void OutputOptions::apply(Program& program) const { program.terminal.set_quiet(quiet); }

void CommonOptions::describe(config::OptionTable& table) {
  table.add("threads", threads, "threads to compute with; 0: all cores",
            config::in_range(std::int64_t(0), std::int64_t(1024)));
  OutputOptions::describe(table);
}

void CommonOptions::apply(Program& program) {
  OutputOptions::apply(program);
  const std::int64_t processors = std::thread::hardware_concurrency();
  if (threads > processors && processors > 0) {
    log::warn(str("--threads ", threads, ": there are ", processors,
                  " processors here, more threads wait for each other"));
  }
  set_thread_count(int(threads));
  threads = thread_count();
}

std::string help_page(const Command& command, const config::OptionTable& table) {
  std::string text = str("Usage: retort ", command.name, " ", command.usage, "\n\n",
                         wrapped(command.summary, 100, 0), "\n\n");
  if (!table.options().empty()) text += options_help("Options", table) + "\n";
  text += command.examples.size() == 1 ? "Example:\n" : "Examples:\n";
  for (const auto& example : command.examples) text += str("  ", example, "\n");
  return text;
}

void check_words(const Command& command, const Words& expected,
                 const std::vector<std::string>& found) {
  if (found.size() < expected.required) {
    const std::string example =
        command.examples.empty() ? "" : str("; for example: ", command.examples.front());
    throw ConfigError(str("retort ", command.name, ": ", expected.names[found.size()],
                          " is missing; usage: retort ", command.name, " ", command.usage,
                          example));
  }
  if (found.size() > expected.names.size()) {
    throw ConfigError(str("retort ", command.name, ": unexpected word '",
                          found[expected.names.size()], "'; usage: retort ", command.name, " ",
                          command.usage));
  }
}

std::optional<std::vector<std::string>> parse_command(const Command& command,
                                                      const std::vector<std::string>& args,
                                                      config::OptionTable& table,
                                                      const Words& words) {
  const Arguments arguments = parse_arguments(args, table);
  if (arguments.help) {
    print(help_page(command, table));
    return std::nullopt;
  }
  check_words(command, words, arguments.words);
  apply_flags(table, arguments);
  return arguments.words;
}

std::optional<std::string> parse_one_word(const Command& command,
                                          const std::vector<std::string>& args,
                                          config::OptionTable& table, OutputOptions& output,
                                          const std::string& name, Program& program) {
  output.describe(table);
  const auto words = parse_command(command, args, table, {{name}, 1});
  if (!words) return std::nullopt;
  output.apply(program);
  return words->front();
}

void print(const std::string& text) {
  std::cout << text << std::flush;
  if (!std::cout) throw StorageError("cannot write the result to stdout; is the disk full?");
}

std::string program_version() {
  const std::string revision = RETORT_REVISION;
  return revision.empty() ? RETORT_VERSION : str(RETORT_VERSION, " (", revision, ")");
}

}  // namespace retort::cli
