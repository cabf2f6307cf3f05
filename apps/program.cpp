#include "apps/program.h"

#include <exception>
#include <new>

#include <c10/util/Exception.h>

#include "apps/cli/help.h"
#include "apps/commands/commands.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

std::string overview() {
  std::vector<std::vector<std::string>> rows;
  for (const auto& command : commands::all_commands()) {
    rows.push_back({command.name, cli::wrapped(command.summary, 100, 12)});
  }
  return str("Usage: retort COMMAND ...\n\nCondenses image datasets into small synthetic sets.\n\n",
             "Commands:\n", columns(rows, {.indent = "  "}),
             "\nOptions of a command, with ranges and defaults: retort COMMAND --help\n",
             "Version: retort --version\n");
}

int dispatch(const std::vector<std::string>& words, cli::Program& program) {
  if (words.empty()) throw ConfigError("which command?\n" + overview());
  const std::string& name = words.front();
  if (name == "--help" || name == "-h" || name == "help") {
    cli::print(overview());
    return kOk;
  }
  if (name == "--version") {
    cli::print("retort " + cli::program_version() + "\n");
    return kOk;
  }
  std::vector<std::string> known;
  for (const auto& command : commands::all_commands()) {
    if (command.name == name) {
      return command.run(command, {words.begin() + 1, words.end()}, program);
    }
    known.push_back(command.name);
  }
  throw ConfigError(unknown_name_message("command", name, known));
}

/// Out of memory is the one failure of LibTorch that a user can cause and mend.
std::string explained(const std::string& message) {
  if (message.find("can't allocate memory") == std::string::npos) return message;
  return "out of memory; fewer images per class, smaller batches or fewer --threads need less (" +
         message + ")";
}

int fail(cli::Terminal& terminal, const std::string& message, int code) {
  terminal.finish();
  terminal.log(log::Level::Error, message);
  return code;
}

}  // namespace

int run_program(const std::vector<std::string>& words, cli::Program& program) {
  cli::Terminal& terminal = program.terminal;
  try {
    return dispatch(words, program);
  } catch (const Interrupted& e) {
    terminal.finish();
    terminal.log(log::Level::Warn, e.what());
    return kInterrupted;
  } catch (const ConfigError& e) {
    return fail(terminal, e.what(), kUsage);
  } catch (const Error& e) {
    return fail(terminal, e.what(), kFailed);
  } catch (const c10::Error& e) {
    return fail(terminal, explained(e.what_without_backtrace()), kFailed);
  } catch (const std::bad_alloc&) {
    return fail(terminal, explained("can't allocate memory"), kFailed);
  } catch (const std::exception& e) {
    return fail(terminal, e.what(), kFailed);
  }
}

}  // namespace retort
