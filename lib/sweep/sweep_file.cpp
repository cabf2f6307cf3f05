#include "lib/sweep/sweep_file.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

#include "lib/config/text.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::sweep {
namespace {

using config::trimmed;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/// Up to a `#` outside of quotes that begins the line or follows a blank.
std::string without_comment(const std::string& line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] == '#' && !quoted && (i == 0 || is_blank(line[i - 1]))) return line.substr(0, i);
  }
  return line;
}

/// Text between commas that stand outside of quotes.
std::vector<std::string> pieces(const std::string& text) {
  std::vector<std::string> found{""};
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) {
      found.emplace_back();
    } else {
      found.back() += c;
    }
  }
  if (quoted) throw ConfigError(str("the closing quote is missing: '", text, "'"));
  for (auto& piece : found) piece = trimmed(piece);
  return found;
}

std::string unquoted(const std::string& piece) {
  if (!piece.starts_with('"')) {
    if (piece.find('"') == std::string::npos) return piece;
  } else if (piece.find('"', 1) == piece.size() - 1) {
    return piece.substr(1, piece.size() - 2);
  }
  throw ConfigError(str("quotes stand around a whole value, found '", piece, "'"));
}

std::vector<std::string> values_of(const std::string& key, const std::string& text) {
  std::vector<std::string> values;
  const std::vector<std::string> found = pieces(text);
  for (const auto& piece : found) {
    if (piece.empty() && found.size() > 1) {
      throw ConfigError(str("'", key, "': a value is missing between commas: '", text, "'"));
    }
    values.push_back(unquoted(piece));
  }
  if (std::set<std::string>(values.begin(), values.end()).size() < values.size()) {
    throw ConfigError(str("'", key, "': each value may stand once, found '", text, "'"));
  }
  return values;
}

/// "key = values"
Setting parse_setting(const std::string& text, int line) {
  const std::size_t equals = text.find('=');
  Setting setting{.key = trimmed(text.substr(0, equals)), .values = {}, .line = line};
  if (equals == std::string::npos || setting.key.empty()) {
    throw ConfigError(str("expected 'key = value', found '", trimmed(text), "'"));
  }
  const std::string values = text.substr(equals + 1);
  setting.quoted = values.find('"') != std::string::npos;
  setting.values = values_of(setting.key, values);
  return setting;
}

/// "method = dm and ipc = 1, 10"
std::vector<Condition> parse_conditions(const std::string& text) {
  constexpr const char* kAnd = " and ";
  std::vector<Condition> conditions;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(kAnd, start), text.size());
    const Setting setting = parse_setting(text.substr(start, end - start), 0);
    conditions.push_back({setting.key, setting.values});
    start = end + std::string(kAnd).size();
  }
  return conditions;
}

/// @param text the line, from its bracket on
Section parse_header(const std::string& text, int line) {
  if (!text.ends_with(']')) {
    throw ConfigError(str("expected '[condense]', '[evaluate]' or '[condense if key = value]', ",
                          "found '", text, "'"));
  }
  const std::string inside = trimmed(text.substr(1, text.size() - 2));
  const std::size_t blank = std::min(inside.find(' '), inside.size());
  const std::string name = inside.substr(0, blank);
  Section section{.stage = Stage::Condense, .conditions = {}, .settings = {}, .line = line};
  if (name == stage_name(Stage::Evaluate)) {
    section.stage = Stage::Evaluate;
  } else if (name != stage_name(Stage::Condense)) {
    throw ConfigError(unknown_name_message("section", name, {"condense", "evaluate"}));
  }
  const std::string rest = trimmed(inside.substr(blank));
  if (rest.empty()) return section;
  if (!rest.starts_with("if ")) {
    throw ConfigError(
        str("after the name of a section only 'if key = value' may follow, found '", rest, "'"));
  }
  section.conditions = parse_conditions(rest.substr(3));
  return section;
}

class Parser {
 public:
  explicit Parser(std::string source) { file_.source = std::move(source); }

  void take(const std::string& line, int number) {
    const std::string text = trimmed(without_comment(line));
    if (text.empty()) return;
    with_context(str(file_.source, ":", number), [&] {
      if (text.starts_with('[')) {
        open(parse_header(text, number));
      } else if (file_.sections.empty()) {
        take_head(parse_setting(text, number));
      } else {
        add(parse_setting(text, number));
      }
    });
  }

  SweepFile finish() && {
    if (!file_.has(Stage::Condense)) {
      throw ConfigError(str(file_.source, ": there is no section [condense]: what shall be made?"));
    }
    for (const auto& section : file_.sections) {
      if (section.stage != Stage::Evaluate || file_.has(Stage::Evaluate)) continue;
      throw ConfigError(str(file_.source, ":", section.line,
                            ": [evaluate if ...] changes how some of the sets are judged; that ",
                            "sets are judged says a section [evaluate], which may be empty"));
    }
    std::stable_partition(file_.sections.begin(), file_.sections.end(),
                          [](const Section& section) { return section.conditions.empty(); });
    return std::move(file_);
  }

 private:
  void open(Section section) {
    for (const auto& other : file_.sections) {
      const bool twice = section.conditions.empty() && other.conditions.empty();
      if (!twice || other.stage != section.stage) continue;
      throw ConfigError(str("[", stage_name(section.stage), "] already begins in line ", other.line,
                            "; a section for some cells says which: [", stage_name(section.stage),
                            " if key = value]"));
    }
    file_.sections.push_back(std::move(section));
  }

  void take_head(const Setting& setting) {
    if (setting.key != "out") {
      throw ConfigError(str("before the first section only 'out' may stand: ",
                            unknown_name_message("key", setting.key, {"out"})));
    }
    if (!file_.out.empty()) throw ConfigError("'out' is already set");
    file_.out = join(setting.values, ",");
  }

  void add(Setting setting) {
    auto& settings = file_.sections.back().settings;
    for (const auto& other : settings) {
      if (other.key != setting.key) continue;
      throw ConfigError(str("'", setting.key, "' is already set in line ", other.line));
    }
    settings.push_back(std::move(setting));
  }

  SweepFile file_;
};

}  // namespace

const char* stage_name(Stage stage) { return stage == Stage::Condense ? "condense" : "evaluate"; }

bool SweepFile::has(Stage stage) const {
  return std::any_of(sections.begin(), sections.end(), [stage](const Section& section) {
    return section.stage == stage && section.conditions.empty();
  });
}

SweepFile parse_sweep(const std::string& text, const std::string& source) {
  Parser parser(source);
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) parser.take(line, number);
  return std::move(parser).finish();
}

void keep_lists_together(
    SweepFile& file, const std::function<bool(Stage stage, const std::string& key)>& takes_list) {
  for (auto& section : file.sections) {
    for (auto& setting : section.settings) {
      if (setting.quoted || !takes_list(section.stage, setting.key)) continue;
      setting.values = {join(setting.values, ",")};
    }
  }
}

}  // namespace retort::sweep
