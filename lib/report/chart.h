#pragma once
// Plots as SVG, each a <figure> with a text alternative and its numbers as a table below it.
// Colours are those of the page's style sheet.

#include <cstdint>
#include <string>
#include <vector>

#include "lib/report/html.h"

namespace retort::report {

struct Curve {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;       ///< as many; one that is not finite leaves a gap
  std::vector<double> spread;  ///< as many, drawn as a band of y ± spread; empty: none
};

/// At most `points` of them: each the mean of equally many neighbours, the last one of the rest.
Curve thinned(const Curve& curve, std::size_t points);

struct LineChart {
  std::string title;
  std::string x_title;
  std::string y_title;
  std::vector<Curve> curves;
};
void add_line_chart(Html& html, const LineChart& chart);
/// The plot as a file of its own, with its style, the text alternative and without the table.
std::string line_chart_svg(const LineChart& chart);

/// Points of one colour.
struct PointGroup {
  std::string name;
  std::vector<std::string> names;  ///< of the points
  std::vector<double> x;           ///< as many; a point whose place is not finite is not drawn
  std::vector<double> y;
};

struct ScatterChart {
  std::string title;
  std::string x_title;
  std::string y_title;
  std::string point_title;  ///< what a point is: "network"
  std::vector<PointGroup> groups;
  std::string finding{};  ///< what else the words say, in a sentence; may be empty
};
void add_scatter_chart(Html& html, const ScatterChart& chart);
/// As line_chart_svg, with a legend below.
std::string scatter_chart_svg(const ScatterChart& chart);

/// Horizontal bars from 0 to `high`.
struct BarChart {
  std::string title;
  std::string value_title;
  std::vector<std::string> names;
  std::vector<double> values;  ///< one that is not finite is written as "-"
  double high = 100;
};
void add_bar_chart(Html& html, const BarChart& chart);

/// How often values fall into equally wide bins.
struct Histogram {
  std::string title;
  std::string value_title;
  double low = 0;
  double high = 1;
  std::vector<std::int64_t> counts;
  /// Between these lies what is allowed; the rest is marked. Nothing is if both are equal.
  double allowed_low = 0;
  double allowed_high = 0;
};
void add_histogram(Html& html, const Histogram& histogram);

/// Cells as dark as their share of `high`.
struct HeatMap {
  std::string title;
  std::string row_title;
  std::string column_title;
  std::vector<std::string> rows;
  std::vector<std::string> columns;
  std::vector<std::vector<double>> values;  ///< per row; not finite: nothing is known
  double low = 0;                           ///< of which nothing is seen
  double high = 100;
  int digits = 1;        ///< behind the point, in cells
  int table_digits = 1;  ///< and in the table
  /// Per row, what the table says in the place of the values; empty: just these.
  std::vector<std::vector<std::string>> table_texts{};
  /// Tables have no more entries than this: the largest ones then, those on the diagonal left out.
  std::size_t most_numbers = 1024;
};
void add_heat_map(Html& html, const HeatMap& map);

}  // namespace retort::report
