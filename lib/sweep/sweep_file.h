#pragma once
// The text of a sweep: which options span the grid, and which are changed for some of its cells.

#include <functional>
#include <string>
#include <vector>

namespace retort::sweep {

/// Which command an option belongs to.
enum class Stage { Condense, Evaluate };
const char* stage_name(Stage stage);

/// `key = value, value`: several values span the grid.
struct Setting {
  std::string key;
  std::vector<std::string> values;
  bool quoted = false;  ///< a value stood in double quotes
  int line = 0;
};

/// Holds for the cells whose option `key` has one of `values`.
struct Condition {
  std::string key;
  std::vector<std::string> values;
};

/// `[condense]`, or `[evaluate if method = dm, dc and ipc = 1]`: all conditions must hold.
struct Section {
  Stage stage = Stage::Condense;
  std::vector<Condition> conditions;
  std::vector<Setting> settings;
  int line = 0;
};

struct SweepFile {
  std::string source;             ///< the name used in messages
  std::string out;                ///< folder of everything the sweep leaves; empty: not said
  std::vector<Section> sections;  ///< those of all cells first

  bool has(Stage stage) const;
};

/// `key = value` lines and section headers, `#` comments as in configuration files. A comma
/// separates values; one that belongs to a value stands in double quotes with it.
/// @param source the name used in messages
/// @throws ConfigError with the line number
SweepFile parse_sweep(const std::string& text, const std::string& source);

/// Of options that take lists themselves a comma belongs to the value, unless quotes say where
/// values begin and end.
void keep_lists_together(
    SweepFile& file, const std::function<bool(Stage stage, const std::string& key)>& takes_list);

}  // namespace retort::sweep
