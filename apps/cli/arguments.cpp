#include "apps/cli/arguments.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>

#include <boost/program_options.hpp>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::cli {
namespace {

namespace po = boost::program_options;

/// "--lr_img=0.1" -> "--lr-img=0.1": the papers' programs write underscores.
std::string with_dashes(std::string token) {
  if (!token.starts_with("--")) return token;
  const auto end = std::find(token.begin(), token.end(), '=');
  std::replace(token.begin(), end, '_', '-');
  return token;
}

bool names_option(const std::string& token, const config::OptionTable& table) {
  return token.starts_with("--") && table.contains(token.substr(2, token.find('=') - 2));
}

/// Program_options would take whatever follows as the value: a file name after `--quiet`, or the
/// next flag after a forgotten value. So bools get their value here, and the latter is refused.
std::vector<std::string> normalised(const std::vector<std::string>& args,
                                    config::OptionTable table) {
  std::vector<std::string> tokens;
  bool expects_value = false;
  for (const auto& arg : args) {
    if (expects_value && names_option(with_dashes(arg), table)) {
      throw ConfigError(str("option '", tokens.back(), "' needs a value"));
    }
    if (expects_value) {
      tokens.push_back(arg);
      expects_value = false;
      continue;
    }
    tokens.push_back(with_dashes(arg));
    const bool alone = tokens.back().find('=') == std::string::npos;
    if (!alone || !names_option(tokens.back(), table)) continue;
    expects_value = !table.find(tokens.back().substr(2)).is_flag;
    if (!expects_value) tokens.back() += "=true";
  }
  return tokens;
}

po::options_description description_of(const config::OptionTable& table) {
  po::options_description description;
  for (const auto& option : table.options()) {
    std::vector<std::string> names = option.aliases;
    names.push_back(option.name);
    for (const auto& name : names) {
      description.add_options()(name.c_str(), po::value<std::string>(), "");
    }
  }
  description.add_options()("help,h", po::bool_switch(), "");
  return description;
}

/// Abbreviations ("--ip" for "--ipc") are off: they would change meaning when an option is added.
int style() { return po::command_line_style::unix_style & ~po::command_line_style::allow_guessing; }

po::parsed_options parse(const std::vector<std::string>& args, const config::OptionTable& table,
                         const po::options_description& description) {
  try {
    return po::command_line_parser(normalised(args, table))
        .options(description)
        .style(style())
        .run();
  } catch (const po::unknown_option& e) {
    std::string name = e.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    config::OptionTable known = table;
    bool help = false;
    known.add("help", help, "");
    known.find(name);  // throws with the nearest name
    throw ConfigError(str("unknown option '", e.get_option_name(), "'"));
  } catch (const po::invalid_command_line_syntax& e) {
    throw ConfigError(str("option '", e.get_option_name(), "' needs a value"));
  } catch (const po::error& e) {
    throw ConfigError(e.what());
  }
}

}  // namespace

Arguments parse_arguments(const std::vector<std::string>& args, const config::OptionTable& table) {
  const po::options_description description = description_of(table);
  Arguments arguments;
  std::set<std::string> seen;
  config::OptionTable known = table;
  for (const auto& option : parse(args, table, description).options) {
    if (option.string_key == "help") {
      arguments.help = true;
    } else if (option.string_key.empty()) {
      arguments.words.insert(arguments.words.end(), option.value.begin(), option.value.end());
    } else {
      if (!seen.insert(known.find(option.string_key).name).second) {
        throw ConfigError(str("option '--", option.string_key, "' is given twice"));
      }
      arguments.flags.emplace_back(option.string_key, option.value.front());
    }
  }
  return arguments;
}

std::string peek_flag(const std::vector<std::string>& args, const std::string& name) {
  const std::string flag = "--" + name;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string token = with_dashes(args[i]);
    if (token == flag && i + 1 < args.size()) return args[i + 1];
    if (token.starts_with(flag + "=")) return token.substr(flag.size() + 1);
  }
  return "";
}

void apply_flags(config::OptionTable& table, const Arguments& arguments) {
  for (const auto& [name, value] : arguments.flags) table.set(name, value, config::Origin::Flag);
  table.refuse_unused_flags();
}

void expect_other_file(const std::string& option, const std::string& output,
                       const std::string& input) {
  std::error_code ec;
  if (std::filesystem::equivalent(output, input, ec)) {
    throw ConfigError(str("option '", option, "': '", output, "' is the file that is read; '",
                          input, "' would be lost"));
  }
}

double parse_duration(const std::string& option, const std::string& text) {
  const auto refuse = [&] {
    throw ConfigError(str("option '", option, "': expected a duration such as 90s, 8m or 1h30m, ",
                          "found '", text, "'"));
  };
  double seconds = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  if (at == end) refuse();
  while (at != end) {
    double number = 0;
    const auto [next, error] = std::from_chars(at, end, number, std::chars_format::fixed);
    if (error != std::errc() || !std::isfinite(number) || number < 0) refuse();
    const char unit = next == end ? 's' : *next;
    if (unit != 's' && unit != 'm' && unit != 'h') refuse();
    seconds += number * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
    at = next == end ? end : next + 1;
  }
  return seconds;
}

}  // namespace retort::cli
