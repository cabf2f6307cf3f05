#pragma once
// From the words of a command line to the fields that an OptionTable is bound to.

#include <string>
#include <utility>
#include <vector>

#include "lib/config/options.h"

namespace retort::cli {

/// A command line, taken apart.
struct Arguments {
  std::vector<std::pair<std::string, std::string>> flags;  ///< name without dashes, value; in order
  std::vector<std::string> words;                          ///< what is no flag: file names
  bool help = false;                                       ///< --help or -h
};

/// Takes `args` (what follows the command's name) apart; only the table's names are known.
/// `--name value`, `--name=value`, a bool also as `--name`; '_' in a name reads as '-'.
/// @throws ConfigError for unknown, repeated or incomplete flags
Arguments parse_arguments(const std::vector<std::string>& args, const config::OptionTable& table);

/// The value of the flag `name`, "" if it is not there; everything else is ignored. For flags that
/// decide which other flags exist.
std::string peek_flag(const std::vector<std::string>& args, const std::string& name);

/// Sets all flags.
void apply_flags(config::OptionTable& table, const Arguments& arguments);

/// An output must not overwrite the command's own input. @throws ConfigError naming both
void expect_other_file(const std::string& option, const std::string& output,
                       const std::string& input);

/// "90s", "8m", "1h", "1h30m" or plain seconds. @throws ConfigError naming `option`
double parse_duration(const std::string& option, const std::string& text);

}  // namespace retort::cli
