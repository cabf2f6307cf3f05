#pragma once
// A struct of options describes itself once; the table then reads presets and flags, prints help
// and writes provenance. No LibTorch here.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace retort::config {

/// What a value must satisfy, with the words that help and errors use ("1 .. 1000", "> 0").
template <class T>
struct Rule {
  std::string text;  ///< empty: anything of the type
  std::function<bool(const T&)> accepts;
};

Rule<std::int64_t> in_range(std::int64_t low, std::int64_t high);
Rule<std::int64_t> at_least(std::int64_t low);
Rule<double> in_range(double low,
                      double high);  ///< closed; NaN and infinity are refused everywhere
Rule<double> positive();
Rule<double> non_negative();
Rule<std::string> one_of(std::vector<std::string> choices);
Rule<std::string> any_text();

enum class Origin { Default, Preset, File, Flag };

/// What another option must be, or must not be, for this one to change anything.
struct Condition {
  std::string option;
  std::vector<std::string> values;
  bool holds_for_them = true;  ///< false: for all other values
};

/// One option: how to set it from text, how to print it, and where its value came from.
struct Option {
  std::string name;  ///< kebab-case
  std::vector<std::string> aliases;
  std::string help;
  std::string range;  ///< what is accepted, in words
  std::string default_text;
  bool is_flag = false;  ///< a bool: `--name` alone means true
  Origin origin = Origin::Default;
  std::function<void(const std::string& text)> assign;  ///< throws ConfigError
  std::function<std::string()> value;
  std::vector<Condition> conditions;  ///< all must hold

  /// Says that the option changes nothing unless `option` of the same table has one of `values`.
  Option& only_with(const std::string& option, std::vector<std::string> values);
  /// Says that it changes nothing while `option` has one of `values`.
  Option& not_with(const std::string& option, std::vector<std::string> values);
};

/// A table may hold the options of several structs: `append` joins them.
class OptionTable {
 public:
  /// `field` is bound by reference and must outlive the table. Returns the option to add aliases.
  Option& add(const std::string& name, std::int64_t& field, const std::string& help,
              Rule<std::int64_t> rule);
  Option& add(const std::string& name, double& field, const std::string& help, Rule<double> rule);
  Option& add(const std::string& name, std::string& field, const std::string& help,
              Rule<std::string> rule);
  Option& add(const std::string& name, bool& field, const std::string& help);
  /// A comma-separated list; each entry must satisfy the rule.
  Option& add(const std::string& name, std::vector<std::string>& field, const std::string& help,
              Rule<std::string> rule);
  Option& add(const std::string& name, std::vector<std::int64_t>& field, const std::string& help,
              Rule<std::int64_t> rule);
  Option& add(const std::string& name, std::vector<double>& field, const std::string& help,
              Rule<double> rule);

  /// By name or alias. @throws ConfigError naming the nearest known option
  Option& find(const std::string& name);
  bool contains(const std::string& name) const;
  /// Later calls win: apply preset, file and flags in this order.
  void set(const std::string& name, const std::string& text, Origin origin);
  /// @throws ConfigError for a flag whose conditions do not hold: it would be ignored. Values from
  ///         presets and files may stand there unused.
  void refuse_unused_flags();
  /// Moves all options of `other` (bound to its own fields) behind these.
  /// @throws Error when a name or alias exists on both sides: a mistake in the program
  void append(OptionTable other);

  const std::vector<Option>& options() const { return options_; }
  std::vector<Option>& options() { return options_; }
  /// name -> value of every option, resolved
  std::map<std::string, std::string> resolved() const;
  /// The same of those whose conditions hold: the others change nothing.
  std::map<std::string, std::string> in_use() const;

 private:
  Option& insert(Option option);
  bool holds(const Condition& condition) const;

  std::vector<Option> options_;
};

/// Lines of `key = value`. `#` starts a comment at the start of a line or after a blank; a value
/// that holds one, or outer blanks, or line breaks, stands in double quotes with \" \\ \n inside.
struct ConfigEntry {
  std::string key;
  std::string value;
  int line = 0;
};

/// @param source the name used in messages
/// @throws ConfigError with the line number; a key may stand once only
std::vector<ConfigEntry> parse_config(const std::string& text, const std::string& source);

/// Sets every entry; errors carry source and line.
void apply_config(OptionTable& table, const std::vector<ConfigEntry>& entries,
                  const std::string& source, Origin origin);

/// `key = value` lines that parse_config reads back to the same values.
std::string config_text(const OptionTable& table);

/// Shortest decimal text that reads back to the same double.
std::string number_text(double value);

}  // namespace retort::config
