#include <algorithm>

#include "lib/core/str.h"
#include "lib/report/figure.h"
#include "lib/report/sections.h"

namespace retort::report {
namespace {

constexpr std::size_t kPoints = 200;  // of a curve

std::string thinned_note(const Curve& curve) {
  if (curve.y.size() <= kPoints) return "";
  return str(", each point the mean of ", (curve.y.size() + kPoints - 1) / kPoints);
}

void add_metric(Html& html, const Curve& curve) {
  add_line_chart(html, {.title = str(curve.name, " by iteration", thinned_note(curve)),
                        .x_title = "iteration",
                        .y_title = curve.name,
                        .curves = {thinned(curve, kPoints)}});
}

/// Percent of the images of a true class.
std::vector<std::vector<double>> shares(const std::vector<std::vector<std::int64_t>>& counts) {
  std::vector<std::vector<double>> out;
  for (const auto& row : counts) {
    double sum = 0;
    for (const auto count : row) sum += double(count);
    out.emplace_back();
    for (const auto count : row) out.back().push_back(100 * double(count) / sum);  // NaN: none
  }
  return out;
}

void add_judged(Html& html, const Evaluation& evaluation, const Judged& judged) {
  html.open("div", {{"class", "charts"}});
  if (!judged.per_class.empty()) {
    add_bar_chart(html, {.title = str("Accuracy per class, ", network_text(judged), ", protocol ",
                                      evaluation.protocol),
                         .value_title = "accuracy %",
                         .names = evaluation.class_names,
                         .values = judged.per_class});
  }
  if (!judged.confusion.empty()) {
    add_heat_map(html, {.title = str("Confusion in percent of the true class, ",
                                     network_text(judged), ", protocol ", evaluation.protocol),
                        .row_title = "true class",
                        .column_title = "taken for",
                        .rows = evaluation.class_names,
                        .columns = evaluation.class_names,
                        .values = shares(judged.confusion),
                        .digits = 0});
  }
  html.close("div");
}

bool says_classes(const Judged& judged) {
  return !judged.baseline && (!judged.per_class.empty() || !judged.confusion.empty());
}

}  // namespace

bool has_curves(const SetReport& set) { return !set.metrics.empty() || !set.checks.empty(); }

void add_curves(Html& html, const SetReport& set) {
  html.open("div", {{"class", "charts"}});
  if (!set.metrics.empty()) add_metric(html, set.metrics.front());
  if (!set.checks.empty()) {
    add_line_chart(html, {.title = "Accuracy of checks during the run",
                          .x_title = "iterations done",
                          .y_title = "accuracy %",
                          .curves = set.checks});
  }
  html.close("div");
  if (set.metrics.size() < 2) return;
  html.open("details").element("summary", "Other columns of metrics.csv");
  html.open("div", {{"class", "charts"}});
  for (std::size_t i = 1; i < set.metrics.size(); ++i) add_metric(html, set.metrics[i]);
  html.close("div").close("details");
}

bool has_classes(const SetReport& set) {
  return std::any_of(set.evaluations.begin(), set.evaluations.end(), [](const auto& evaluation) {
    return std::any_of(evaluation.judged.begin(), evaluation.judged.end(), says_classes);
  });
}

void add_classes(Html& html, const SetReport& set) {
  bool first = true;
  for (const Evaluation& evaluation : set.evaluations) {
    for (const Judged& judged : evaluation.judged) {
      if (!says_classes(judged)) continue;
      if (!first) {
        html.open("details").element("summary",
                                     str(network_text(judged), ", protocol ", evaluation.protocol));
      }
      add_judged(html, evaluation, judged);
      if (!first) html.close("details");
      first = false;
    }
  }
}

bool has_configuration(const SetReport& set) { return !set.config.empty() || !set.repeat.empty(); }

void add_configuration(Html& html, const SetReport& set) {
  if (!set.repeat.empty()) {
    html.element("p", set.repeat_intro);
    html.open("pre", {{"tabindex", "0"}}).element("code", set.repeat).close("pre");
  }
  if (set.config.empty()) return;
  html.open("details").element("summary", "The full configuration");
  html.open("pre", {{"tabindex", "0"}}).element("code", set.config).close("pre");
  html.close("details");
}

}  // namespace retort::report
