#pragma once
// One subcommand of the program, and what all of them share.

#include <optional>
#include <string>
#include <vector>

#include "apps/cli/arguments.h"
#include "apps/cli/terminal.h"
#include "lib/config/options.h"
#include "lib/core/stop.h"

namespace retort::cli {

/// What the program hands to a command. Results go to stdout, the rest to the terminal.
struct Program {
  Terminal& terminal;
  const StopFlag& stop;
};

struct Command {
  std::string name;
  std::string summary;                ///< one line of `retort --help`
  std::string usage;                  ///< "SET [options]"
  std::vector<std::string> examples;  ///< whole command lines
  /// @param args what follows the command's name  @return exit code
  int (*run)(const Command& command, const std::vector<std::string>& args, Program& program);
};

/// Which words (not flags) a command takes: at least `required`, at most all of `names`.
struct Words {
  std::vector<std::string> names;  ///< as in the usage line: "SET"
  std::size_t required = 0;
};

/// How any command talks.
struct OutputOptions {
  bool quiet = false;
  bool json = false;

  void describe(config::OptionTable& table);
  void apply(Program& program) const;
};

/// Options of every command that computes.
struct CommonOptions : OutputOptions {
  std::int64_t threads = 0;

  void describe(config::OptionTable& table);
  /// Sets thread count and terminal; `threads` becomes the count in use.
  void apply(Program& program);
};

/// The help page of `command`: usage, options, examples.
std::string help_page(const Command& command, const config::OptionTable& table);

/// Sets `table` from `args`. For --help prints the page and returns nothing.
/// @return the words  @throws ConfigError
std::optional<std::vector<std::string>> parse_command(const Command& command,
                                                      const std::vector<std::string>& args,
                                                      config::OptionTable& table,
                                                      const Words& words);
/// The same for a command that takes exactly one word: describes `output` behind the command's own
/// options and applies it.
/// @param name of the word in the usage line  @return the word; nothing after --help
std::optional<std::string> parse_one_word(const Command& command,
                                          const std::vector<std::string>& args,
                                          config::OptionTable& table, OutputOptions& output,
                                          const std::string& name, Program& program);
/// @throws ConfigError unless the number of words fits
void check_words(const Command& command, const Words& expected,
                 const std::vector<std::string>& found);

/// One result on stdout.
void print(const std::string& text);

/// "0.1.0", with the source revision when known: "0.1.0 (8759627)".
std::string program_version();

}  // namespace retort::cli
