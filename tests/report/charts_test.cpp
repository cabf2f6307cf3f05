#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "lib/core/str.h"
#include "lib/report/axis.h"
#include "lib/report/chart.h"
#include "lib/report/figure.h"
#include "tests/report/markup.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::report;
using Catch::Matchers::Contains;
using testing::Element;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

template <class Chart>
Element drawn(void (*add)(Html&, const Chart&), const Chart& chart) {
  Html html;
  add(html, chart);
  return testing::read_markup(std::move(html).finish());
}

/// Texts of the cells below the header, row by row.
std::vector<std::vector<std::string>> cells(const Element& figure) {
  std::vector<std::vector<std::string>> rows;
  for (const Element* row : figure.all("tbody").front()->all("tr")) {
    rows.emplace_back();
    for (const Element& cell : row->children) rows.back().push_back(cell.text);
  }
  return rows;
}

double number(const Element& element, const std::string& key) {
  return std::stod(element.attribute(key));
}

}  // namespace

TEST_CASE("axes have round ticks within their ends", "[report]") {
  CHECK(linear_axis(0, 100).ticks == std::vector<double>{0, 20, 40, 60, 80, 100});
  CHECK(linear_axis(82.3, 86.1, 4).ticks == std::vector<double>{83, 84, 85, 86});
  CHECK(linear_axis(-1, 1, 4).ticks[2] == 0);
  CHECK(linear_axis(3, 3).low < 3);
  CHECK(linear_axis(0, 0).high == 1);
  CHECK(logarithmic_axis(0.01, 1000).ticks.size() == 6);
  CHECK(logarithmic_axis(1, 20).ticks == std::vector<double>{1, 2, 5, 10, 20});
  CHECK(logarithmic_axis(1, 100).position(10) == Approx(0.5));
  CHECK(linear_axis(10, 20).position(15) == Approx(0.5));
}

TEST_CASE("values that differ by rounding alone have an axis with room", "[report]") {
  // Counting in steps of the last bit never ends: above 2^53 steps, adding one changes nothing.
  for (const double value : {1.0, 1e-30, -3.0, 0.1, 1e17}) {
    INFO(value);
    const double next = std::nextafter(value, 2 * std::abs(value));
    const Axis axis = linear_axis(std::min(value, next), std::max(value, next));
    CHECK(axis.low < std::min(value, next) - 0.01 * std::abs(value));
    CHECK(axis.high > std::max(value, next) + 0.01 * std::abs(value));
    CHECK(axis.ticks.size() >= 2);
    CHECK(axis.ticks.size() <= 6);
  }
  CHECK(axis_for({5, std::nextafter(5, 6)}).high > 5.1);
}

TEST_CASE("an axis is logarithmic where values span much and are positive", "[report]") {
  CHECK(axis_for({0.01, kNone, 3}).logarithmic);
  CHECK_FALSE(axis_for({1, 3}).logarithmic);
  CHECK_FALSE(axis_for({0, 3}).logarithmic);
  CHECK_FALSE(axis_for({-5, 3, 500}).logarithmic);
  CHECK(axis_for({kNone}).low == 0);
}

TEST_CASE("a long curve is thinned to means of equally many points", "[report]") {
  Curve curve{.name = "loss", .x = {}, .y = {}, .spread = {}};
  for (int i = 0; i < 10; ++i) {
    curve.x.push_back(i);
    curve.y.push_back(10 * i);
  }
  const Curve thin = thinned(curve, 4);
  CHECK(thin.x == std::vector<double>{1, 4, 7, 9});
  CHECK(thin.y == std::vector<double>{10, 40, 70, 90});
  CHECK(thinned(curve, 10).y == curve.y);
}

TEST_CASE("a line chart draws, tells and lists its points", "[report]") {
  const LineChart chart{
      .title = "Loss <of> a run",
      .x_title = "iteration",
      .y_title = "loss",
      .curves = {{.name = "a", .x = {0, 10, 20, 30}, .y = {4, kNone, 2, 1}, .spread = {}},
                 {.name = "b", .x = {0, 15}, .y = {3, 2}, .spread = {0.5, 0}}}};
  const Element figure = drawn(add_line_chart, chart);
  const Element& svg = *figure.all("svg").front();
  CHECK(svg.attribute("role") == "img");
  CHECK(svg.all("title").front()->text == "Loss <of> a run");
  CHECK_THAT(svg.all("desc").front()->text,
             Contains("loss over iteration from 0 to 30.") &&
                 Contains("a: 3 points, from 4 to 1, lowest 1, highest 4."));
  CHECK(cells(figure) == std::vector<std::vector<std::string>>{{"0", "4", "3 ± 0.5"},
                                                               {"10", "-", "-"},
                                                               {"15", "-", "2"},
                                                               {"20", "2", "-"},
                                                               {"30", "1", "-"}});
  // A gap in the data lifts the pen.
  const auto paths = svg.all("path");
  REQUIRE(paths.size() == 3);
  CHECK(paths[0]->attribute("class") == "curve s1");
  const std::string path = paths[0]->attribute("d");
  CHECK(std::count(path.begin(), path.end(), 'M') == 2);
  CHECK(std::count(path.begin(), path.end(), 'L') == 1);
  CHECK(paths[1]->attribute("class") == "band s2");
  // Larger values stand higher, and all points within the drawing.
  const auto marks = svg.all("circle");
  REQUIRE(marks.size() == 5);
  CHECK(number(*marks[0], "cy") < number(*marks[1], "cy"));
  CHECK(number(*marks[0], "cx") < number(*marks[1], "cx"));
  CHECK(number(*marks[0], "cy") == Approx(22));
  CHECK(number(*marks[2], "cy") == Approx(220).margin(0.2));
  CHECK(figure.all("li").size() == 2);
}

TEST_CASE("curves beyond the colours are drawn in other ways", "[report]") {
  LineChart chart{.title = "many", .x_title = "x", .y_title = "y", .curves = {}};
  for (int i = 0; i < 24; ++i) {
    chart.curves.push_back(
        {.name = str("c", i), .x = {0, 1}, .y = {double(i), double(i + 1)}, .spread = {}});
  }
  const Element figure = drawn(add_line_chart, chart);
  std::vector<std::string> looks;
  for (const Element* path : figure.all("path")) looks.push_back(path->attribute("class"));
  REQUIRE(looks.size() == 24);
  CHECK(looks[5] == "curve s6");
  CHECK(looks[6] == "curve s1 r1");
  CHECK(looks[23] == "curve s6 r3");
  CHECK(std::set<std::string>(looks.begin(), looks.end()).size() == 24);
  CHECK(figure.all("li")[7]->all("span")[0]->attribute("class") == "key s2 r1");
}

TEST_CASE("a scatter plot draws, tells and lists its points", "[report]") {
  const ScatterChart chart{
      .title = "ranks & scores",
      .x_title = "reference",
      .y_title = "proxy",
      .point_title = "network",
      .groups = {{.name = "BN", .names = {"a", "b"}, .x = {80, 90}, .y = {10, 30}},
                 {.name = "IN", .names = {"c", "d"}, .x = {85, kNone}, .y = {20, 40}}},
      .finding = "Spearman's rho 1."};
  const Element figure = drawn(add_scatter_chart, chart);
  const Element& svg = *figure.all("svg").front();
  CHECK_THAT(svg.all("desc").front()->text,
             Contains("3 points: proxy from 10 to 30 over reference from 80 to 90.") &&
                 Contains("BN: 2, IN: 1.") && Contains("Spearman's rho 1."));
  const auto marks = svg.all("circle");
  REQUIRE(marks.size() == 3);
  CHECK(marks[0]->attribute("class") == "mark s1");
  CHECK(marks[2]->attribute("class") == "mark s2");
  CHECK(marks[2]->all("title").front()->text == "c: 85, 20");
  // More to the right and higher; c lies in the middle of a and b.
  CHECK(number(*marks[0], "cx") < number(*marks[1], "cx"));
  CHECK(number(*marks[0], "cy") > number(*marks[1], "cy"));
  CHECK(number(*marks[2], "cx") ==
        Approx((number(*marks[0], "cx") + number(*marks[1], "cx")) / 2).margin(0.1));
  CHECK(cells(figure) == std::vector<std::vector<std::string>>{{"a", "BN", "80", "10"},
                                                               {"b", "BN", "90", "30"},
                                                               {"c", "IN", "85", "20"},
                                                               {"d", "IN", "-", "40"}});
  CHECK(figure.all("li").size() == 2);

  const Element picture = testing::read_markup(scatter_chart_svg(chart));
  CHECK(picture.all("circle").size() == 5);  // two of the legend
  CHECK(picture.all("table").empty());
  CHECK_THAT(picture.text, Contains("IN"));
}

TEST_CASE("a scatter plot of one group needs no legend, and of nothing no points", "[report]") {
  ScatterChart chart{.title = "t",
                     .x_title = "x",
                     .y_title = "y",
                     .point_title = "network",
                     .groups = {{.name = "all", .names = {"a"}, .x = {1}, .y = {1}}}};
  const Element one = drawn(add_scatter_chart, chart);
  CHECK(one.all("li").empty());
  CHECK(cells(one) == std::vector<std::vector<std::string>>{{"a", "1", "1"}});
  CHECK(testing::read_markup(scatter_chart_svg(chart)).all("circle").size() == 1);
  chart.groups.clear();
  CHECK_THAT(drawn(add_scatter_chart, chart).all("desc").front()->text, Contains("0 points"));
}

TEST_CASE("bars are as long as their values, and missing ones are told", "[report]") {
  const Element figure = drawn(add_bar_chart, BarChart{.title = "Accuracy",
                                                       .value_title = "accuracy %",
                                                       .names = {"cat", "dog", "ship"},
                                                       .values = {50, 100, kNone}});
  const auto bars = figure.all("rect");
  REQUIRE(bars.size() == 3);
  CHECK(number(*bars[0], "width") == Approx(number(*bars[1], "width") / 2).margin(0.1));
  CHECK(number(*bars[2], "width") == 0);
  CHECK(cells(figure) ==
        std::vector<std::vector<std::string>>{{"cat", "50.0"}, {"dog", "100.0"}, {"ship", "-"}});
  CHECK_THAT(figure.all("desc").front()->text,
             Contains("lowest cat with 50.0, highest dog with 100.0"));
}

TEST_CASE("a histogram marks what is not allowed", "[report]") {
  const Element figure = drawn(add_histogram, Histogram{.title = "Pixels",
                                                        .value_title = "value",
                                                        .low = -0.5,
                                                        .high = 1.5,
                                                        .counts = {1, 4, 0, 5},
                                                        .allowed_low = 0,
                                                        .allowed_high = 1});
  const auto bars = figure.all("rect");
  REQUIRE(bars.size() == 3);
  CHECK(bars[0]->attribute("class") == "bar s2");
  CHECK(bars[1]->attribute("class") == "bar s1");
  CHECK(bars[2]->attribute("class") == "bar s2");
  CHECK(number(*bars[1], "height") == Approx(0.8 * number(*bars[2], "height")).margin(0.2));
  CHECK(cells(figure)[1] == std::vector<std::string>{"0", "0.5", "4", "40.00"});
  CHECK_THAT(figure.all("desc").front()->text, Contains("10 values") && Contains("50.00 %"));
}

TEST_CASE("a small heat map writes its numbers, a large one its largest entries", "[report]") {
  HeatMap map{.title = "Accuracy",
              .row_title = "set",
              .column_title = "network",
              .rows = {"a & b", "c"},
              .columns = {"ConvNet-3", "ResNet-18"},
              .values = {{80, 40}, {kNone, 100}}};
  const Element small = drawn(add_heat_map, map);
  CHECK(small.all("rect").size() == 4);
  CHECK(small.all("rect")[0]->attribute("fill-opacity") == "0.80");
  CHECK(cells(small) ==
        std::vector<std::vector<std::string>>{{"a & b", "80.0", "40.0"}, {"c", "-", "100.0"}});

  // Numbers of cells of any shade stand in an outline of the other colour.
  CHECK_THAT(kPlotStyle, Contains("paint-order:stroke"));
  map.table_texts = {{"80.00 ± 1.00", "40.00"}, {"-", "100.00"}};
  CHECK(cells(drawn(add_heat_map, map))[0] ==
        std::vector<std::string>{"a & b", "80.00 ± 1.00", "40.00"});
  map.table_texts.clear();

  map.rows.clear();
  map.values.assign(50, std::vector<double>(50, 0));
  for (int i = 0; i < 50; ++i) {
    map.rows.push_back("class " + std::to_string(i));
    map.values[std::size_t(i)][std::size_t(i)] = 90;
  }
  map.columns = map.rows;
  map.values[3][7] = 10;
  map.values[7][3] = 5;
  const Element large = drawn(add_heat_map, map);
  CHECK(large.all("path").size() == 3);  // one per shade
  CHECK(cells(large) == std::vector<std::vector<std::string>>{{"class 3", "class 7", "10.0"},
                                                              {"class 7", "class 3", "5.0"}});
}

TEST_CASE("a plot alone is a picture with its style and its words", "[report]") {
  const LineChart chart{
      .title = "a < b & c",
      .x_title = "classes",
      .y_title = "accuracy",
      .curves = {{.name = "dm", .x = {20, 40}, .y = {50, 100}, .spread = {1, 5}}}};
  const std::string text = line_chart_svg(chart);
  CHECK_THAT(text,
             Contains("xmlns=\"http://www.w3.org/2000/svg\"") && Contains("a &lt; b &amp; c"));
  const Element picture = testing::read_markup(text);
  CHECK(picture.name == "svg");
  CHECK(picture.all("figure").empty());
  CHECK(picture.all("style").size() == 1);
  CHECK_THAT(picture.all("desc").front()->text, Contains("2 points, from 50 to 100"));
  // What is drawn is what the figure of a page holds.
  const Element figure = drawn(add_line_chart, chart);
  REQUIRE(picture.all("path").size() == figure.all("path").size());
  for (std::size_t i = 0; i < figure.all("path").size(); ++i) {
    CHECK(picture.all("path")[i]->attribute("d") == figure.all("path")[i]->attribute("d"));
  }
}

TEST_CASE("a picture of several curves says which is which, one of a single curve need not",
          "[report]") {
  LineChart chart{.title = "t",
                  .x_title = "x",
                  .y_title = "y",
                  .curves = {{.name = "a < b", .x = {0, 1}, .y = {0, 1}, .spread = {}}}};
  const auto texts = [&] {
    std::vector<std::string> found;
    const Element picture = testing::read_markup(line_chart_svg(chart));
    for (const Element* element : picture.all("text")) found.push_back(element->text);
    return found;
  };
  const auto holds = [&](const std::string& name) {
    const auto found = texts();
    return std::find(found.begin(), found.end(), name) != found.end();
  };
  CHECK_FALSE(holds("a < b"));
  chart.curves.push_back({.name = "c", .x = {0, 1}, .y = {1, 0}, .spread = {}});
  CHECK(holds("a < b"));
  CHECK(holds("c"));
}
