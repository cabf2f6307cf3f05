#include <algorithm>
#include <cmath>
#include <map>

#include "lib/config/options.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/report/chart.h"
#include "lib/report/figure.h"

namespace retort::report {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 264;
constexpr std::size_t kMostMarkers = 40;
constexpr std::size_t kColours = 6;
constexpr std::size_t kRounds = 3;  // ways to draw a colour beside the first

bool usable(double y, const Axis& axis) { return std::isfinite(y) && (!axis.logarithmic || y > 0); }

/// "s3", and beyond the colours "s3 r1", "s3 r2", ...: the same ones, drawn differently.
std::string colour_class(std::size_t curve) {
  const std::size_t round = curve / kColours;
  return str("s", curve % kColours + 1, round > 0 ? str(" r", (round - 1) % kRounds + 1) : "");
}

double band_edge(const Curve& curve, std::size_t i, double sign) {
  const bool known = i < curve.spread.size() && std::isfinite(curve.spread[i]);
  return curve.y[i] + sign * (known ? curve.spread[i] : 0);
}

std::vector<double> all_x(const LineChart& chart) {
  std::vector<double> values;
  for (const Curve& curve : chart.curves) {
    values.insert(values.end(), curve.x.begin(), curve.x.end());
  }
  return values;
}

std::vector<double> all_y(const LineChart& chart) {
  std::vector<double> values;
  for (const Curve& curve : chart.curves) {
    for (std::size_t i = 0; i < curve.y.size(); ++i) {
      values.push_back(band_edge(curve, i, -1));
      values.push_back(band_edge(curve, i, 1));
    }
  }
  return values;
}

Axis horizontal_axis(const LineChart& chart) {
  const std::vector<double> values = all_x(chart);
  if (values.empty()) return linear_axis(0, 1);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return linear_axis(*low, *high, 6);
}

struct Plot {
  Frame frame;
  Axis x;
  Axis y;
  std::string at(double px, double py) const {
    return place(frame.x(x, px)) + " " + place(frame.y(y, py));
  }
};

void add_band(Html& html, const Plot& plot, const Curve& curve, std::size_t number) {
  if (curve.spread.empty()) return;
  std::string path;
  for (std::size_t i = 0; i < curve.y.size(); ++i) {
    if (!usable(band_edge(curve, i, -1), plot.y)) return;
    path += (path.empty() ? "M" : "L") + plot.at(curve.x[i], band_edge(curve, i, 1));
  }
  for (std::size_t i = curve.y.size(); i-- > 0;) {
    path += "L" + plot.at(curve.x[i], band_edge(curve, i, -1));
  }
  html.empty("path", {{"class", "band " + colour_class(number)}, {"d", path + "Z"}});
}

/// "40: 84.5 ± 0.43"
std::string point_in_words(const Curve& curve, std::size_t i) {
  const bool spread = i < curve.spread.size() && curve.spread[i] > 0;
  return str(short_number(curve.x[i]), ": ", short_number(curve.y[i]),
             spread ? " ± " + short_number(curve.spread[i]) : "");
}

void add_markers(Html& html, const Plot& plot, const Curve& curve, std::size_t number) {
  if (curve.y.size() > kMostMarkers) return;
  for (std::size_t i = 0; i < curve.y.size(); ++i) {
    if (!usable(curve.y[i], plot.y)) continue;
    html.open("circle", {{"class", "mark " + colour_class(number)},
                         {"cx", place(plot.frame.x(plot.x, curve.x[i]))},
                         {"cy", place(plot.frame.y(plot.y, curve.y[i]))},
                         {"r", "3"}});
    html.element("title", point_in_words(curve, i));
    html.close("circle");
  }
}

void add_curve(Html& html, const Plot& plot, const Curve& curve, std::size_t number) {
  add_band(html, plot, curve, number);
  std::string path;
  bool pen_down = false;
  for (std::size_t i = 0; i < curve.y.size(); ++i) {
    if (usable(curve.y[i], plot.y)) {
      path += (pen_down ? "L" : "M") + plot.at(curve.x[i], curve.y[i]);
    }
    pen_down = usable(curve.y[i], plot.y);
  }
  if (!path.empty()) html.empty("path", {{"class", "curve " + colour_class(number)}, {"d", path}});
  add_markers(html, plot, curve, number);
}

std::string curve_in_words(const Curve& curve) {
  std::vector<double> known;
  std::copy_if(curve.y.begin(), curve.y.end(), std::back_inserter(known),
               [](double y) { return std::isfinite(y); });
  if (known.empty()) return str(curve.name, ": no values.");
  const auto [low, high] = std::minmax_element(known.begin(), known.end());
  return str(curve.name, ": ", known.size(), " points, from ", short_number(known.front()), " to ",
             short_number(known.back()), ", lowest ", short_number(*low), ", highest ",
             short_number(*high), ".");
}

std::string in_words(const LineChart& chart, const Plot& plot) {
  std::vector<std::string> parts = {str(
      chart.y_title, plot.y.logarithmic ? " on a logarithmic scale" : "", " over ", chart.x_title,
      " from ", short_number(plot.x.low), " to ", short_number(plot.x.high), ".")};
  for (const Curve& curve : chart.curves) parts.push_back(curve_in_words(curve));
  return join(parts, " ");
}

Table numbers_of(const LineChart& chart) {
  Table table;
  table.header.push_back(chart.x_title);
  std::map<double, Row> rows;
  for (std::size_t c = 0; c < chart.curves.size(); ++c) {
    const Curve& curve = chart.curves[c];
    table.header.push_back(curve.name);
    for (std::size_t i = 0; i < curve.y.size(); ++i) {
      Row& row = rows.try_emplace(curve.x[i], Row(chart.curves.size() + 1, "-")).first->second;
      row[0] = config::number_text(curve.x[i]);
      if (!std::isfinite(curve.y[i])) continue;
      row[c + 1] = short_number(curve.y[i]);
      const bool spread = i < curve.spread.size() && curve.spread[i] > 0;
      if (spread) row[c + 1] += " ± " + short_number(curve.spread[i]);
    }
  }
  for (auto& [x, row] : rows) table.rows.push_back(std::move(row));
  table.numbers_from = 0;
  return table;
}

std::string legend(const LineChart& chart) {
  if (chart.curves.size() < 2) return "";
  Html html;
  html.open("ul", {{"class", "legend"}});
  for (std::size_t c = 0; c < chart.curves.size(); ++c) {
    html.open("li").element("span", "", {{"class", "key " + colour_class(c)}});
    html.text(chart.curves[c].name).close("li");
  }
  html.close("ul");
  return std::move(html).finish();
}

Plot plot_of(const LineChart& chart) {
  return {.frame = {.left = 50, .top = 22, .width = kWidth - 66, .height = kHeight - 66},
          .x = horizontal_axis(chart),
          .y = axis_for(all_y(chart))};
}

Canvas canvas_of(const LineChart& chart, const Plot& plot) {
  return {.title = chart.title,
          .description = in_words(chart, plot),
          .width = kWidth,
          .height = kHeight};
}

void draw(Html& html, const LineChart& chart, const Plot& plot) {
  add_axes(html, plot.frame, plot.x, &plot.y, chart.x_title, chart.y_title);
  for (std::size_t c = 0; c < chart.curves.size(); ++c) add_curve(html, plot, chart.curves[c], c);
}

/// Of a picture on its own: what several curves are called, above the plot to the right.
void add_key(Html& html, const LineChart& chart, const Plot& plot) {
  if (chart.curves.size() < 2) return;
  double right = plot.frame.left + plot.frame.width;
  for (std::size_t c = chart.curves.size(); c-- > 0;) {
    const std::string& name = chart.curves[c].name;
    right -= text_length(name);
    add_text(html, right, 10, name);
    html.empty("line", {{"class", "curve " + colour_class(c)},
                        {"x1", place(right - 28)},
                        {"y1", "6"},
                        {"x2", place(right - 6)},
                        {"y2", "6"}});
    right -= 42;
  }
}

}  // namespace

Curve thinned(const Curve& curve, std::size_t points) {
  if (curve.y.size() <= points) return curve;
  const std::size_t step = (curve.y.size() + points - 1) / points;
  Curve out{.name = curve.name, .x = {}, .y = {}, .spread = {}};
  for (std::size_t begin = 0; begin < curve.y.size(); begin += step) {
    const std::size_t end = std::min(curve.y.size(), begin + step);
    double x = 0;
    double y = 0;
    double spread = 0;
    for (std::size_t i = begin; i < end; ++i) {
      x += curve.x[i];
      y += curve.y[i];
      spread += i < curve.spread.size() ? curve.spread[i] : 0;
    }
    const auto count = double(end - begin);
    out.x.push_back(x / count);
    out.y.push_back(y / count);
    if (!curve.spread.empty()) out.spread.push_back(spread / count);
  }
  return out;
}

void add_line_chart(Html& html, const LineChart& chart) {
  const Plot plot = plot_of(chart);
  open_figure(html, canvas_of(chart, plot));
  draw(html, chart, plot);
  close_figure(html, numbers_of(chart), legend(chart));
}

std::string line_chart_svg(const LineChart& chart) {
  const Plot plot = plot_of(chart);
  Html html;
  open_picture(html, canvas_of(chart, plot));
  draw(html, chart, plot);
  add_key(html, chart, plot);
  html.close("svg");
  return std::move(html).finish();
}

}  // namespace retort::report
