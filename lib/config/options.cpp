#include "lib/config/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include "lib/config/text.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::config {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& expected,
                         const std::string& found) {
  throw ConfigError(str("option '", name, "': expected ", expected, ", found '", found, "'"));
}

/// "a whole number, 1 .. 50" or just "a whole number".
std::string expectation(const std::string& type, const std::string& rule) {
  return rule.empty() ? type : str(type, ", ", rule);
}

std::int64_t parse_integer(const std::string& name, const std::string& text,
                           const Rule<std::int64_t>& rule) {
  const std::string body = trimmed(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value);
  const bool whole = error == std::errc() && end == body.data() + body.size();
  if (!whole || !rule.accepts(value)) refuse(name, expectation("a whole number", rule.text), text);
  return value;
}

double parse_number(const std::string& name, const std::string& text, const Rule<double>& rule) {
  const std::string body = trimmed(text);
  double value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value);
  const bool whole = error == std::errc() && end == body.data() + body.size();
  if (!whole || !std::isfinite(value) || !rule.accepts(value)) {
    refuse(name, expectation("a number", rule.text), text);
  }
  return value;
}

bool parse_bool(const std::string& name, const std::string& text) {
  const std::string word = lower_case(trimmed(text));
  for (const char* yes : {"true", "yes", "on", "1"}) {
    if (word == yes) return true;
  }
  for (const char* no : {"false", "no", "off", "0"}) {
    if (word == no) return false;
  }
  refuse(name, "true or false", text);
}

/// Entries of "a, b,c"; an empty text is an empty list.
std::vector<std::string> split_list(const std::string& name, const std::string& text) {
  std::vector<std::string> entries;
  if (trimmed(text).empty()) return entries;
  std::size_t start = 0;
  while (true) {
    const std::size_t comma = text.find(',', start);
    const std::string entry = trimmed(text.substr(start, comma - start));
    if (entry.empty()) refuse(name, "a comma-separated list without empty entries", text);
    entries.push_back(entry);
    if (comma == std::string::npos) return entries;
    start = comma + 1;
  }
}

Option declared(const std::string& name, const std::string& help, const std::string& range) {
  Option option;
  option.name = name;
  option.help = help;
  option.range = range;
  return option;
}

bool answers_to(const Option& option, const std::string& name) {
  return option.name == name ||
         std::find(option.aliases.begin(), option.aliases.end(), name) != option.aliases.end();
}

}  // namespace

Rule<std::int64_t> in_range(std::int64_t low, std::int64_t high) {
  return {str(low, " .. ", high), [=](const std::int64_t& x) { return x >= low && x <= high; }};
}

Rule<std::int64_t> at_least(std::int64_t low) {
  return {str(low, " or more"), [=](const std::int64_t& x) { return x >= low; }};
}

Rule<double> in_range(double low, double high) {
  return {str(number_text(low), " .. ", number_text(high)),
          [=](const double& x) { return x >= low && x <= high; }};
}

Rule<double> positive() {
  return {"> 0", [](const double& x) { return x > 0; }};
}

Rule<double> non_negative() {
  return {">= 0", [](const double& x) { return x >= 0; }};
}

Rule<std::string> one_of(std::vector<std::string> choices) {
  const std::string text = join(choices, " | ");
  return {text, [choices = std::move(choices)](const std::string& x) {
            return std::find(choices.begin(), choices.end(), x) != choices.end();
          }};
}

Rule<std::string> any_text() {
  return {"", [](const std::string&) { return true; }};
}

Option& Option::only_with(const std::string& option, std::vector<std::string> values) {
  conditions.push_back({option, std::move(values), true});
  return *this;
}

Option& Option::not_with(const std::string& option, std::vector<std::string> values) {
  conditions.push_back({option, std::move(values), false});
  return *this;
}

Option& OptionTable::insert(Option option) {
  std::vector<std::string> names = option.aliases;
  names.push_back(option.name);
  for (const auto& name : names) {
    if (contains(name)) throw Error(str("option '", name, "' is declared twice"));
  }
  option.default_text = option.value();
  options_.push_back(std::move(option));
  return options_.back();
}

Option& OptionTable::add(const std::string& name, std::int64_t& field, const std::string& help,
                         Rule<std::int64_t> rule) {
  Option option = declared(name, help, rule.text);
  option.assign = [=, &field](const std::string& text) { field = parse_integer(name, text, rule); };
  option.value = [&field] { return std::to_string(field); };
  return insert(std::move(option));
}

Option& OptionTable::add(const std::string& name, double& field, const std::string& help,
                         Rule<double> rule) {
  Option option = declared(name, help, rule.text);
  option.assign = [=, &field](const std::string& text) { field = parse_number(name, text, rule); };
  option.value = [&field] { return number_text(field); };
  return insert(std::move(option));
}

Option& OptionTable::add(const std::string& name, std::string& field, const std::string& help,
                         Rule<std::string> rule) {
  Option option = declared(name, help, rule.text);
  option.assign = [=, &field](const std::string& text) {
    if (!rule.accepts(text)) refuse(name, rule.text, text);
    field = text;
  };
  option.value = [&field] { return field; };
  return insert(std::move(option));
}

Option& OptionTable::add(const std::string& name, bool& field, const std::string& help) {
  Option option = declared(name, help, "true | false");
  option.is_flag = true;
  option.assign = [=, &field](const std::string& text) { field = parse_bool(name, text); };
  option.value = [&field] { return std::string(field ? "true" : "false"); };
  return insert(std::move(option));
}

Option& OptionTable::add(const std::string& name, std::vector<std::string>& field,
                         const std::string& help, Rule<std::string> rule) {
  Option option = declared(name, help, expectation("list", rule.text));
  option.assign = [=, &field](const std::string& text) {
    auto entries = split_list(name, text);
    for (const auto& entry : entries) {
      if (!rule.accepts(entry)) refuse(name, rule.text, entry);
    }
    field = std::move(entries);
  };
  option.value = [&field] { return join(field, ","); };
  return insert(std::move(option));
}

Option& OptionTable::add(const std::string& name, std::vector<std::int64_t>& field,
                         const std::string& help, Rule<std::int64_t> rule) {
  Option option = declared(name, help, expectation("list", rule.text));
  option.assign = [=, &field](const std::string& text) {
    std::vector<std::int64_t> values;
    for (const auto& entry : split_list(name, text)) {
      values.push_back(parse_integer(name, entry, rule));
    }
    field = std::move(values);
  };
  option.value = [&field] { return join(field, ","); };
  return insert(std::move(option));
}

Option& OptionTable::add(const std::string& name, std::vector<double>& field,
                         const std::string& help, Rule<double> rule) {
  Option option = declared(name, help, expectation("list", rule.text));
  option.assign = [=, &field](const std::string& text) {
    std::vector<double> values;
    for (const auto& entry : split_list(name, text)) {
      values.push_back(parse_number(name, entry, rule));
    }
    field = std::move(values);
  };
  option.value = [&field] {
    std::vector<std::string> texts;
    for (const double value : field) texts.push_back(number_text(value));
    return join(texts, ",");
  };
  return insert(std::move(option));
}

Option& OptionTable::find(const std::string& name) {
  for (auto& option : options_) {
    if (answers_to(option, name)) return option;
  }
  std::vector<std::string> known;
  for (const auto& option : options_) {
    known.push_back(option.name);
    known.insert(known.end(), option.aliases.begin(), option.aliases.end());
  }
  const std::string nearest = nearest_name(name, known);
  if (!nearest.empty()) {
    throw ConfigError(str("unknown option '", name, "'; did you mean '", nearest, "'?"));
  }
  throw ConfigError(unknown_name_message("option", name, known));
}

bool OptionTable::contains(const std::string& name) const {
  return std::any_of(options_.begin(), options_.end(),
                     [&](const Option& option) { return answers_to(option, name); });
}

void OptionTable::set(const std::string& name, const std::string& text, Origin origin) {
  Option& option = find(name);
  option.assign(text);
  option.origin = origin;
}

namespace {

/// What to do about a flag whose condition does not hold.
std::string remedy(const Condition& condition) {
  if (!condition.holds_for_them) return str("set ", condition.option, " as well");
  if (condition.values == std::vector<std::string>{""}) return "leave one of the two away";
  return str("it belongs to ", condition.option, " ", join(condition.values, " or "));
}

}  // namespace

bool OptionTable::holds(const Condition& condition) const {
  const auto option = std::find_if(options_.begin(), options_.end(), [&](const Option& known) {
    return answers_to(known, condition.option);
  });
  if (option == options_.end()) {
    throw Error(str("a condition names option '", condition.option, "', which is not declared"));
  }
  const auto& values = condition.values;
  const bool listed = std::find(values.begin(), values.end(), option->value()) != values.end();
  return listed == condition.holds_for_them;
}

void OptionTable::refuse_unused_flags() {
  for (const Option& option : options_) {
    if (option.origin != Origin::Flag) continue;
    for (const Condition& condition : option.conditions) {
      if (holds(condition)) continue;
      const std::string found = find(condition.option).value();
      throw ConfigError(str("option '", option.name, "' changes nothing while ", condition.option,
                            " is ", found.empty() ? "not given" : found, "; ", remedy(condition)));
    }
  }
}

void OptionTable::append(OptionTable other) {
  for (auto& option : other.options_) {
    std::vector<std::string> names = option.aliases;
    names.push_back(option.name);
    for (const auto& name : names) {
      if (contains(name)) throw Error(str("option '", name, "' is declared twice"));
    }
    options_.push_back(std::move(option));
  }
}

std::map<std::string, std::string> OptionTable::resolved() const {
  std::map<std::string, std::string> values;
  for (const auto& option : options_) values[option.name] = option.value();
  return values;
}

std::map<std::string, std::string> OptionTable::in_use() const {
  std::map<std::string, std::string> values;
  for (const auto& option : options_) {
    const bool used = std::all_of(option.conditions.begin(), option.conditions.end(),
                                  [this](const Condition& condition) { return holds(condition); });
    if (used) values[option.name] = option.value();
  }
  return values;
}

std::string number_text(double value) {
  char buffer[64];
  // Left to itself, to_chars prefers "5e-04" to "0.0005".
  const double size = std::abs(value);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e15);
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof buffer, value,
                    plain ? std::chars_format::fixed : std::chars_format::scientific);
  return error == std::errc() ? std::string(buffer, end) : str(value);
}

}  // namespace retort::config
