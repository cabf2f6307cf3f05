#include <algorithm>
#include <cmath>

#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/report/chart.h"
#include "lib/report/figure.h"

namespace retort::report {
namespace {

constexpr double kWidth = 460;
constexpr std::size_t kLongestName = 18;

double longest_label(const std::vector<std::string>& names) {
  double longest = 0;
  for (const auto& name : names) {
    longest = std::max(longest, text_length(shortened(name, kLongestName)));
  }
  return longest;
}

std::string value_text(double value) { return std::isfinite(value) ? fixed(value, 1) : "-"; }

std::string in_words(const BarChart& chart) {
  std::size_t lowest = chart.values.size();
  std::size_t highest = chart.values.size();
  for (std::size_t i = 0; i < chart.values.size(); ++i) {
    if (!std::isfinite(chart.values[i])) continue;
    if (lowest == chart.values.size() || chart.values[i] < chart.values[lowest]) lowest = i;
    if (highest == chart.values.size() || chart.values[i] > chart.values[highest]) highest = i;
  }
  if (lowest == chart.values.size()) return str(chart.value_title, ": no values.");
  return str(chart.value_title, " of ", chart.values.size(), " bars: lowest ", chart.names[lowest],
             " with ", value_text(chart.values[lowest]), ", highest ", chart.names[highest],
             " with ", value_text(chart.values[highest]), ".");
}

std::size_t total(const Histogram& histogram) {
  std::size_t sum = 0;
  for (const auto count : histogram.counts) sum += std::size_t(count);
  return sum;
}

double bin_edge(const Histogram& histogram, std::size_t bin) {
  return histogram.low +
         (histogram.high - histogram.low) * double(bin) / double(histogram.counts.size());
}

std::string percent_text(const Histogram& histogram, std::int64_t count) {
  return fixed(100 * double(count) / double(std::max<std::size_t>(1, total(histogram))), 2);
}

std::string in_words(const Histogram& histogram) {
  if (histogram.counts.empty()) return str(histogram.value_title, ": no values.");
  const auto most = std::max_element(histogram.counts.begin(), histogram.counts.end());
  const auto bin = std::size_t(most - histogram.counts.begin());
  return str(total(histogram), " values of ", histogram.value_title, " from ",
             short_number(histogram.low), " to ", short_number(histogram.high), "; most, ",
             percent_text(histogram, *most), " %, between ", short_number(bin_edge(histogram, bin)),
             " and ", short_number(bin_edge(histogram, bin + 1)), ".");
}

bool is_allowed(const Histogram& histogram, std::size_t bin) {
  if (histogram.allowed_low == histogram.allowed_high) return true;
  const double middle = (bin_edge(histogram, bin) + bin_edge(histogram, bin + 1)) / 2;
  return middle >= histogram.allowed_low && middle <= histogram.allowed_high;
}

void add_bins(Html& html, const Histogram& histogram, const Frame& frame, const Axis& x,
              const Axis& y) {
  for (std::size_t bin = 0; bin < histogram.counts.size(); ++bin) {
    if (histogram.counts[bin] == 0) continue;
    const double left = frame.x(x, bin_edge(histogram, bin));
    const double right = frame.x(x, bin_edge(histogram, bin + 1));
    // What is rare stays visible.
    const double height = std::max(1.0, frame.height * y.position(double(histogram.counts[bin])));
    html.empty("rect", {{"class", is_allowed(histogram, bin) ? "bar s1" : "bar s2"},
                        {"x", place(left)},
                        {"y", place(frame.top + frame.height - height)},
                        {"width", place(std::max(0.5, right - left - 0.5))},
                        {"height", place(height)}});
  }
}

Table numbers_of(const Histogram& histogram) {
  Table table{.header = {"from", "to", "values", "%"}, .rows = {}, .numbers_from = 0};
  for (std::size_t bin = 0; bin < histogram.counts.size(); ++bin) {
    table.rows.push_back({short_number(bin_edge(histogram, bin)),
                          short_number(bin_edge(histogram, bin + 1)), str(histogram.counts[bin]),
                          percent_text(histogram, histogram.counts[bin])});
  }
  return table;
}

}  // namespace

void add_bar_chart(Html& html, const BarChart& chart) {
  const std::size_t count = chart.values.size();
  const double pitch = count > 40 ? 13 : 19;
  const Frame frame{.left = longest_label(chart.names) + 8,
                    .top = 4,
                    .width = kWidth - longest_label(chart.names) - 56,
                    .height = pitch * double(count)};
  const Axis axis = linear_axis(0, chart.high);
  open_figure(html, {.title = chart.title,
                     .description = in_words(chart),
                     .width = kWidth,
                     .height = frame.height + 46});
  add_axes(html, frame, axis, nullptr, chart.value_title, "");
  Table numbers{.header = {"name", chart.value_title}, .rows = {}};
  for (std::size_t i = 0; i < count; ++i) {
    const double top = frame.top + pitch * double(i);
    const double value = std::isfinite(chart.values[i]) ? chart.values[i] : 0;
    const double length = frame.width * axis.position(std::clamp(value, 0.0, chart.high));
    add_text(html, frame.left - 6, top + pitch / 2 + 4, shortened(chart.names[i], kLongestName),
             {{"text-anchor", "end"}});
    html.empty("rect", {{"class", "bar s1"},
                        {"x", place(frame.left)},
                        {"y", place(top + 2)},
                        {"width", place(length)},
                        {"height", place(pitch - 4)}});
    add_text(html, frame.left + length + 5, top + pitch / 2 + 4, value_text(chart.values[i]));
    numbers.rows.push_back({chart.names[i], value_text(chart.values[i])});
  }
  close_figure(html, numbers);
}

void add_histogram(Html& html, const Histogram& histogram) {
  constexpr double kHeight = 200;
  const Frame frame{.left = 50, .top = 22, .width = kWidth - 66, .height = kHeight - 66};
  const Axis x = linear_axis(histogram.low, histogram.high, 6);
  const auto most = histogram.counts.empty()
                        ? 1
                        : *std::max_element(histogram.counts.begin(), histogram.counts.end());
  const Axis y = linear_axis(0, double(std::max<std::int64_t>(1, most)), 4);
  open_figure(html, {.title = histogram.title,
                     .description = in_words(histogram),
                     .width = kWidth,
                     .height = kHeight});
  add_axes(html, frame, x, &y, histogram.value_title, "values");
  add_bins(html, histogram, frame, x, y);
  close_figure(html, numbers_of(histogram));
}

}  // namespace retort::report
