#include <algorithm>
#include <cmath>

#include "lib/core/str.h"
#include "lib/report/chart.h"
#include "lib/report/figure.h"

namespace retort::report {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 344;
constexpr double kLegendLine = 18;
constexpr std::size_t kColours = 6;

std::string colour_class(std::size_t group) { return str("s", group % kColours + 1); }

bool drawn(const PointGroup& group, std::size_t i) {
  return std::isfinite(group.x[i]) && std::isfinite(group.y[i]);
}

/// Over all points that are drawn; whole numbers around nothing where there is none.
Axis axis_of(const ScatterChart& chart, const std::vector<double> PointGroup::*coordinate) {
  std::vector<double> values;
  for (const PointGroup& group : chart.groups) {
    for (std::size_t i = 0; i < group.x.size(); ++i) {
      if (drawn(group, i)) values.push_back((group.*coordinate)[i]);
    }
  }
  if (values.empty()) return linear_axis(0, 1);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return linear_axis(*low, *high);
}

struct Plot {
  Frame frame;
  Axis x;
  Axis y;
};

Plot plot_of(const ScatterChart& chart) {
  return {.frame = {.left = 50, .top = 22, .width = kWidth - 66, .height = kHeight - 66},
          .x = axis_of(chart, &PointGroup::x),
          .y = axis_of(chart, &PointGroup::y)};
}

std::size_t points_drawn(const PointGroup& group) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < group.x.size(); ++i) count += drawn(group, i) ? 1 : 0;
  return count;
}

std::string range_in_words(const std::string& title, const Axis& axis) {
  return str(title, " from ", short_number(axis.low), " to ", short_number(axis.high));
}

std::string in_words(const ScatterChart& chart, const Plot& plot) {
  std::size_t count = 0;
  std::vector<std::string> groups;
  for (const PointGroup& group : chart.groups) {
    const std::size_t own = points_drawn(group);
    count += own;
    groups.push_back(str(group.name, ": ", own));
  }
  std::string words =
      str(count, count == 1 ? " point: " : " points: ", range_in_words(chart.y_title, plot.y),
          " over ", range_in_words(chart.x_title, plot.x), ".");
  if (chart.groups.size() > 1) words += str(" ", join(groups), ".");
  if (!chart.finding.empty()) words += " " + chart.finding;
  return words;
}

void draw(Html& html, const ScatterChart& chart, const Plot& plot) {
  add_axes(html, plot.frame, plot.x, &plot.y, chart.x_title, chart.y_title);
  for (std::size_t g = 0; g < chart.groups.size(); ++g) {
    const PointGroup& group = chart.groups[g];
    for (std::size_t i = 0; i < group.x.size(); ++i) {
      if (!drawn(group, i)) continue;
      html.open("circle", {{"class", "mark " + colour_class(g)},
                           {"cx", place(plot.frame.x(plot.x, group.x[i]))},
                           {"cy", place(plot.frame.y(plot.y, group.y[i]))},
                           {"fill-opacity", "0.75"},
                           {"r", "3"}});
      html.element("title", str(group.names[i], ": ", short_number(group.x[i]), ", ",
                                short_number(group.y[i])));
      html.close("circle");
    }
  }
}

Table numbers_of(const ScatterChart& chart) {
  const bool named = chart.groups.size() > 1;
  Table table{.header = {chart.point_title}, .rows = {}};
  if (named) table.header.emplace_back("group");
  table.header.insert(table.header.end(), {chart.x_title, chart.y_title});
  table.numbers_from = named ? 2 : 1;
  const auto text = [](double value) { return std::isfinite(value) ? short_number(value) : "-"; };
  for (const PointGroup& group : chart.groups) {
    for (std::size_t i = 0; i < group.x.size(); ++i) {
      Row row{group.names[i]};
      if (named) row.push_back(group.name);
      row.insert(row.end(), {text(group.x[i]), text(group.y[i])});
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

std::string legend(const ScatterChart& chart) {
  if (chart.groups.size() < 2) return "";
  Html html;
  html.open("ul", {{"class", "legend"}});
  for (std::size_t g = 0; g < chart.groups.size(); ++g) {
    html.open("li").element("span", "", {{"class", "key " + colour_class(g)}});
    html.text(chart.groups[g].name).close("li");
  }
  html.close("ul");
  return std::move(html).finish();
}

/// The same within a picture: a dot and a name behind another, in as many lines as it takes.
struct DrawnLegend {
  struct Entry {
    double x = 0;
    double line = 0;
  };
  std::vector<Entry> entries;  ///< one per group; none for a single one
  double height = 0;

  explicit DrawnLegend(const ScatterChart& chart) {
    if (chart.groups.size() < 2) return;
    constexpr double kLeft = 50;
    double x = kLeft;
    double line = 0;
    for (const PointGroup& group : chart.groups) {
      const double width = text_length(group.name) + 26;
      if (x > kLeft && x + width > kWidth) {
        x = kLeft;
        ++line;
      }
      entries.push_back({x, line});
      x += width;
    }
    height = kLegendLine * (line + 1);
  }
};

void add_drawn_legend(Html& html, const ScatterChart& chart, const DrawnLegend& legend) {
  for (std::size_t g = 0; g < legend.entries.size(); ++g) {
    const auto& [x, line] = legend.entries[g];
    const double middle = kHeight + kLegendLine * (line + 0.5);
    html.empty("circle", {{"class", "mark " + colour_class(g)},
                          {"cx", place(x + 5)},
                          {"cy", place(middle)},
                          {"r", "4"}});
    add_text(html, x + 13, middle + 4, chart.groups[g].name);
  }
}

Canvas canvas_of(const ScatterChart& chart, const Plot& plot, double more) {
  return {.title = chart.title,
          .description = in_words(chart, plot),
          .width = kWidth,
          .height = kHeight + more};
}

}  // namespace

void add_scatter_chart(Html& html, const ScatterChart& chart) {
  const Plot plot = plot_of(chart);
  open_figure(html, canvas_of(chart, plot, 0));
  draw(html, chart, plot);
  close_figure(html, numbers_of(chart), legend(chart));
}

std::string scatter_chart_svg(const ScatterChart& chart) {
  const Plot plot = plot_of(chart);
  const DrawnLegend legend(chart);
  Html html;
  open_picture(html, canvas_of(chart, plot, legend.height));
  draw(html, chart, plot);
  add_drawn_legend(html, chart, legend);
  html.close("svg");
  return std::move(html).finish();
}

}  // namespace retort::report
