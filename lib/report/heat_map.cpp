#include <algorithm>
#include <cmath>
#include <map>

#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/report/chart.h"
#include "lib/report/figure.h"

namespace retort::report {
namespace {

constexpr std::size_t kLongestName = 22;
constexpr std::size_t kNamed = 40;    // rows or columns; beyond, names would lie upon each other
constexpr std::size_t kWritten = 16;  // columns whose numbers fit into cells
constexpr double kDigitWidth = 7.2;
constexpr int kShades = 20;  // of maps without written numbers
constexpr double kSlope = 0.7071067811865476;

struct Layout {
  double cell_width = 0;
  double cell_height = 0;
  double left = 0;
  double top = 0;
  bool named = false;
  bool written = false;
  double x(std::size_t column) const { return left + cell_width * double(column); }
  double y(std::size_t row) const { return top + cell_height * double(row); }
};

double longest(const std::vector<std::string>& names) {
  double length = 0;
  for (const auto& name : names) {
    length = std::max(length, text_length(shortened(name, kLongestName)));
  }
  return length;
}

Layout layout_of(const HeatMap& map) {
  const std::size_t most = std::max(map.rows.size(), map.columns.size());
  Layout layout;
  layout.named = most <= kNamed;
  layout.written = map.columns.size() <= kWritten;
  layout.cell_width = layout.written ? kDigitWidth * double(4 + map.digits)
                                     : std::max(2.0, std::min(16.0, 420.0 / double(most)));
  layout.cell_height = layout.written ? 24 : layout.cell_width;
  layout.left = layout.named ? longest(map.rows) + 10 : 4;
  layout.top = layout.named ? kSlope * longest(map.columns) + 34 : 20;
  return layout;
}

/// 0: nothing, 1: full colour.
double share(const HeatMap& map, double value) {
  if (!std::isfinite(value) || map.high <= map.low) return 0;
  return std::clamp((value - map.low) / (map.high - map.low), 0.0, 1.0);
}

void add_names(Html& html, const HeatMap& map, const Layout& layout) {
  add_text(html, 0, 11, str("rows: ", map.row_title, ", columns: ", map.column_title));
  if (!layout.named) return;
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    add_text(html, layout.left - 6, layout.y(r) + layout.cell_height / 2 + 4,
             shortened(map.rows[r], kLongestName), {{"text-anchor", "end"}});
  }
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    const double x = layout.x(c) + layout.cell_width / 2;
    const double y = layout.top - 6;
    add_text(html, x, y, shortened(map.columns[c], kLongestName),
             {{"transform", str("rotate(-45 ", place(x), " ", place(y), ")")}});
  }
}

void add_written_cells(Html& html, const HeatMap& map, const Layout& layout) {
  for (std::size_t r = 0; r < map.values.size(); ++r) {
    for (std::size_t c = 0; c < map.values[r].size(); ++c) {
      const double value = map.values[r][c];
      const double part = share(map, value);
      html.empty("rect", {{"class", "heat"},
                          {"x", place(layout.x(c) + 0.5)},
                          {"y", place(layout.y(r) + 0.5)},
                          {"width", place(layout.cell_width - 1)},
                          {"height", place(layout.cell_height - 1)},
                          {"fill-opacity", fixed(part, 2)}});
      const std::string text = std::isfinite(value) ? fixed(value, map.digits) : "-";
      add_text(html, layout.x(c) + layout.cell_width / 2, layout.y(r) + layout.cell_height / 2 + 4,
               text, {{"class", part > 0.55 ? "on" : "off"}, {"text-anchor", "middle"}});
    }
  }
}

/// One path per shade: thousands of cells stay small.
void add_shaded_cells(Html& html, const HeatMap& map, const Layout& layout) {
  std::map<int, std::string> paths;
  const std::string size = place(layout.cell_width);
  const std::string square = str("h", size, "v", place(layout.cell_height), "h-", size, "z");
  for (std::size_t r = 0; r < map.values.size(); ++r) {
    for (std::size_t c = 0; c < map.values[r].size(); ++c) {
      const int shade = int(std::ceil(share(map, map.values[r][c]) * kShades));
      if (shade == 0) continue;
      paths[shade] += str("M", place(layout.x(c)), " ", place(layout.y(r)), square);
    }
  }
  html.empty("rect", {{"class", "ground"},
                      {"x", place(layout.left)},
                      {"y", place(layout.top)},
                      {"width", place(layout.cell_width * double(map.columns.size()))},
                      {"height", place(layout.cell_height * double(map.rows.size()))}});
  for (const auto& [shade, path] : paths) {
    html.empty(
        "path",
        {{"class", "heat"}, {"d", path}, {"fill-opacity", fixed(double(shade) / kShades, 2)}});
  }
}

struct Entry {
  std::size_t row = 0;
  std::size_t column = 0;
  double value = 0;
};

std::vector<Entry> largest_entries(const HeatMap& map) {
  std::vector<Entry> entries;
  for (std::size_t r = 0; r < map.values.size(); ++r) {
    for (std::size_t c = 0; c < map.values[r].size(); ++c) {
      const double value = map.values[r][c];
      if (r != c && std::isfinite(value) && value > map.low) entries.push_back({r, c, value});
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.value > b.value; });
  if (entries.size() > map.most_numbers) entries.resize(map.most_numbers);
  return entries;
}

Table numbers_of(const HeatMap& map) {
  const auto text = [&](double value) {
    return std::isfinite(value) ? fixed(value, map.table_digits) : std::string("-");
  };
  Table table;
  if (map.rows.size() * map.columns.size() <= map.most_numbers) {
    table.header = {map.row_title + " / " + map.column_title};
    table.header.insert(table.header.end(), map.columns.begin(), map.columns.end());
    for (std::size_t r = 0; r < map.values.size(); ++r) {
      table.rows.push_back({map.rows[r]});
      for (std::size_t c = 0; c < map.values[r].size(); ++c) {
        table.rows.back().push_back(map.table_texts.empty() ? text(map.values[r][c])
                                                            : map.table_texts[r][c]);
      }
    }
    return table;
  }
  table.caption = str("the largest of ", map.rows.size() * map.columns.size(),
                      " entries, without the diagonal");
  table.header = {map.row_title, map.column_title, "value"};
  table.numbers_from = 2;
  for (const Entry& entry : largest_entries(map)) {
    table.rows.push_back({map.rows[entry.row], map.columns[entry.column], text(entry.value)});
  }
  return table;
}

std::string in_words(const HeatMap& map) {
  std::vector<double> known;
  for (const auto& row : map.values) {
    std::copy_if(row.begin(), row.end(), std::back_inserter(known),
                 [](double x) { return std::isfinite(x); });
  }
  std::string text = str(map.rows.size(), " rows of ", map.row_title, ", ", map.columns.size(),
                         " columns of ", map.column_title, ". ");
  if (known.empty()) return text + "No values.";
  const auto [low, high] = std::minmax_element(known.begin(), known.end());
  return text + str("Values from ", fixed(*low, map.table_digits), " to ",
                    fixed(*high, map.table_digits), ".");
}

}  // namespace

void add_heat_map(Html& html, const HeatMap& map) {
  const Layout layout = layout_of(map);
  // The last name leans out to the right of its column.
  const double lean = layout.named ? kSlope * longest(map.columns) : 0;
  const double inner = layout.cell_width * double(map.columns.size());
  const double heading = text_length(str("rows: ", map.row_title, ", columns: ", map.column_title));
  open_figure(html, {.title = map.title,
                     .description = in_words(map),
                     .width = std::max(heading, layout.left + inner + lean) + 8,
                     .height = layout.y(map.rows.size()) + 6});
  add_names(html, map, layout);
  if (layout.written) {
    add_written_cells(html, map, layout);
  } else {
    add_shaded_cells(html, map, layout);
  }
  close_figure(html, numbers_of(map));
}

}  // namespace retort::report
