#include <algorithm>

#include "lib/config/options.h"
#include "lib/core/spread_text.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/sweep/table.h"

namespace retort::sweep {
namespace {

using nlohmann::json;
using Line = std::vector<std::string>;

/// Labels of all rows, each once, in the order of their first.
std::vector<std::string> label_keys(const Table& table) {
  std::vector<std::string> keys;
  for (const auto& row : table.rows) {
    for (const auto& [key, value] : row.labels) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  return keys;
}

/// What stands in the column of the method when a row is no set of its own.
std::string label_of(const Row& row, const std::string& key, bool first) {
  const std::string value = value_of(row.labels, key);
  if (row.beside.empty()) return value;
  if (first) return value.empty() ? row.beside : str(value, ", ", row.beside);
  return value;
}

Line labels_of(const Row& row, const std::vector<std::string>& keys) {
  Line line;
  for (std::size_t i = 0; i < keys.size(); ++i) line.push_back(label_of(row, keys[i], i == 0));
  return line;
}

/// Columns that not every table has.
struct Extra {
  bool tested_on = false;  ///< not the same in all rows
  bool best = false;
  std::vector<std::string> attacks{};
};

Extra extra_of(const Table& table) {
  Extra extra;
  for (const auto& row : table.rows) {
    extra.tested_on = extra.tested_on || row.tested_on != table.rows.front().tested_on;
    extra.best = extra.best || row.best();
    for (const auto& attack : row.attacks()) {
      const auto& known = extra.attacks;
      if (std::find(known.begin(), known.end(), attack) == known.end()) {
        extra.attacks.push_back(attack);
      }
    }
  }
  return extra;
}

std::string spread_text(const Row& row, const std::optional<Spread>& found) {
  return found ? mean_and_spread(found->mean, found->std, row.networks()) : "-";
}

/// Lines of numbers as people read them: the accuracy with its spread over all networks.
Line shown(const Row& row, const Extra& extra) {
  const auto between = row.between();
  const bool made = row.beside.empty() || row.beside == "hard labels";
  Line line{row.protocol, row.network};
  if (extra.tested_on) line.push_back(row.tested_on);
  line.push_back(spread_text(row, Spread{row.mean(), row.spread()}));
  line.push_back(between ? fixed(*between, 2) : "-");
  if (extra.best) line.push_back(spread_text(row, row.best()));
  for (const auto& attack : extra.attacks) line.push_back(spread_text(row, row.under(attack)));
  for (const auto& text :
       {str(row.sets.size()), str(row.networks()), str(row.images),
        bytes_text(double(row.image_bytes)), bytes_text(double(row.label_bytes)),
        made ? fixed(row.condense_seconds(), 1) : "-", fixed(row.evaluate_seconds(), 1)}) {
    line.push_back(text);
  }
  return line;
}

Line with_dashes(Line line) {
  for (auto& entry : line) {
    if (entry.empty()) entry = "-";
  }
  return line;
}

Line joined(Line a, const Line& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Of what `shown` gives.
Line titles_of(const Extra& extra) {
  Line titles{"protocol", "network"};
  if (extra.tested_on) titles.emplace_back("tested on");
  titles.insert(titles.end(), {"accuracy %", "between sets"});
  if (extra.best) titles.emplace_back("best* %");
  for (const auto& attack : extra.attacks) titles.push_back(attack + " %");
  titles.insert(titles.end(), {"sets", "networks", "images", "bytes", "label bytes", "condensing s",
                               "evaluating s"});
  return titles;
}

/// Where columns of numbers begin, behind the labels.
std::size_t first_number(const Extra& extra) { return extra.tested_on ? 3 : 2; }

std::string progress(const Table& table) {
  return str(table.finished, " of ", table.cells, table.cells == 1 ? " cell is" : " cells are",
             " finished");
}

std::string tested_on_text(const Table& table, const Extra& extra) {
  if (extra.tested_on) return "tested on what each row says";
  const std::string& all = table.rows.front().tested_on;
  return all == "test" ? "tested on the test images, by which no setting should be chosen"
                       : "tested on " + all;
}

std::string explanation(const Table& table, const Extra& extra) {
  return progress(table) + "; " + tested_on_text(table, extra) +
         "; accuracy: mean ± population std over all networks of all sets; between sets: "
         "population std of the sets' means; seconds: mean over sets\n";
}

/// Below the table, a line each.
Line remarks(const Table& table, const Extra& extra) {
  Line lines = table.notes;
  if (extra.best) {
    lines.insert(lines.begin(),
                 "* the best of several tests of each network, chosen on what was "
                 "tested on: optimistic");
  }
  return lines;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_line(const Line& line) {
  Line fields;
  for (const auto& text : line) fields.push_back(csv_field(text));
  return join(fields, ",") + "\n";
}

std::string latex_escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::string("&%$#_{}").find(c) != std::string::npos) {
      result += str('\\', c);
    } else if (c == '~') {
      result += "\\textasciitilde{}";
    } else if (c == '^') {
      result += "\\textasciicircum{}";
    } else if (c == '\\') {
      result += "\\textbackslash{}";
    } else {
      result += c;
    }
  }
  return result;
}

std::string latex_line(const Line& line) {
  Line cells;
  for (const auto& text : line) cells.push_back(latex_escaped(text));
  return join(cells, " & ") + " \\\\\n";
}

/// The mark between mean and spread must survive the escaping.
std::string with_latex_plus_minus(std::string text) {
  const std::string mark = "±";
  for (std::size_t at = 0; (at = text.find(mark, at)) != std::string::npos;) {
    text.replace(at, mark.size(), "$\\pm$");
  }
  return text;
}

json spread_json(const std::optional<Spread>& found) {
  return found ? json{{"mean", found->mean}, {"std", found->std}} : json();
}

json robust_json(const Row& row) {
  json list = json::array();
  for (const auto& attack : row.attacks()) {
    json entry = spread_json(row.under(attack));
    entry["attack"] = attack;
    list.push_back(std::move(entry));
  }
  return list;
}

json set_json(const SetResult& set) {
  return {{"seed", set.seed.empty() ? json() : json(set.seed)},
          {"run", set.run},
          {"evaluation", set.file},
          {"mean", set.mean()},
          {"runs", set.runs},
          {"condense_seconds", set.condense_seconds},
          {"evaluate_seconds", set.evaluate_seconds}};
}

json row_json(const Row& row) {
  json labels = json::object();
  for (const auto& [key, value] : row.labels) labels[key] = value.empty() ? json() : json(value);
  json sets = json::array();
  for (const auto& set : row.sets) sets.push_back(set_json(set));
  const auto between = row.between();
  return {{"cell", labels},
          {"beside", row.beside.empty() ? json() : json(row.beside)},
          {"protocol", row.protocol},
          {"network", row.network},
          {"tested_on", row.tested_on},
          {"dataset_sha256", row.dataset_sha256},
          {"best", spread_json(row.best())},
          {"robust", robust_json(row)},
          {"accuracy",
           {{"mean", row.mean()},
            {"std", row.spread()},
            {"std_between_sets", between ? json(*between) : json()},
            {"networks", row.networks()}}},
          {"sets", sets},
          {"decoded_images", row.images},
          {"bytes", {{"images", row.image_bytes}, {"labels", row.label_bytes}}}};
}

}  // namespace

std::string table_text(const Table& table) {
  if (table.rows.empty()) return progress(table) + ", no set is judged\n";
  const auto keys = label_keys(table);
  const Extra extra = extra_of(table);
  std::vector<Line> lines{joined(keys, titles_of(extra))};
  for (const auto& row : table.rows) {
    lines.push_back(with_dashes(joined(labels_of(row, keys), shown(row, extra))));
  }
  std::string text = explanation(table, extra) + "\n" +
                     columns(lines, {.numbers_from = keys.size() + first_number(extra)});
  for (const auto& remark : remarks(table, extra)) text += remark + "\n";
  return text;
}

std::string table_csv(const Table& table) {
  const auto keys = label_keys(table);
  const Extra extra = extra_of(table);
  Line titles{"beside",           "protocol",
              "network",          "tested_on",
              "accuracy",         "std",
              "std_between_sets", "sets",
              "networks",         "images",
              "image_bytes",      "label_bytes",
              "condense_seconds", "evaluate_seconds"};
  if (extra.best) titles.insert(titles.end(), {"best", "best_std"});
  for (const auto& attack : extra.attacks) {
    titles.insert(titles.end(), {attack, attack + " std"});
  }
  std::string text = csv_line(joined(keys, titles));
  for (const auto& row : table.rows) {
    Line line;
    for (const auto& key : keys) line.push_back(value_of(row.labels, key));
    const auto between = row.between();
    Line numbers{row.beside,
                 row.protocol,
                 row.network,
                 row.tested_on,
                 config::number_text(row.mean()),
                 config::number_text(row.spread()),
                 between ? config::number_text(*between) : "",
                 str(row.sets.size()),
                 str(row.networks()),
                 str(row.images),
                 str(row.image_bytes),
                 str(row.label_bytes),
                 config::number_text(row.condense_seconds()),
                 config::number_text(row.evaluate_seconds())};
    const auto add = [&](const std::optional<Spread>& found) {
      numbers.push_back(found ? config::number_text(found->mean) : "");
      numbers.push_back(found ? config::number_text(found->std) : "");
    };
    if (extra.best) add(row.best());
    for (const auto& attack : extra.attacks) add(row.under(attack));
    text += csv_line(joined(line, numbers));
  }
  return text;
}

std::string table_latex(const Table& table) {
  if (table.rows.empty()) return "% " + progress(table) + ", no set is judged\n";
  const auto keys = label_keys(table);
  const Extra extra = extra_of(table);
  const Line titles = titles_of(extra);
  const std::size_t words = keys.size() + first_number(extra);
  std::string text = "% " + explanation(table, extra);
  for (const auto& remark : remarks(table, extra)) text += "% " + remark + "\n";
  text += str("\\begin{tabular}{", std::string(words, 'l'),
              std::string(keys.size() + titles.size() - words, 'r'), "}\n\\hline\n");
  text += latex_line(joined(keys, titles)) + "\\hline\n";
  for (const auto& row : table.rows) {
    text += with_latex_plus_minus(
        latex_line(with_dashes(joined(labels_of(row, keys), shown(row, extra)))));
  }
  return text + "\\hline\n\\end{tabular}\n";
}

json table_json(const Table& table) {
  json rows = json::array();
  for (const auto& row : table.rows) rows.push_back(row_json(row));
  return {{"schema", "retort.sweep/1"},
          {"cells", table.cells},
          {"finished", table.finished},
          {"notes", table.notes},
          {"rows", rows}};
}

}  // namespace retort::sweep
