#include <algorithm>
#include <map>

#include "apps/commands/report_set.h"
#include "apps/commands/shell_word.h"
#include "lib/core/str.h"
#include "lib/report/csv.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSection = "Curves";

/// Every column but the time of an iteration, the loss first.
std::vector<report::Curve> metric_curves(const fs::path& path) {
  const report::CsvTable table = report::read_csv(path);
  if (table.rows.size() < 2) return {};
  const std::vector<double> iterations = table.numbers(table.column("iteration"));
  table.column("loss");
  std::vector<report::Curve> curves;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    const std::string& name = table.header[c];
    if (name == "iteration" || name == "seconds") continue;
    report::Curve curve{.name = name, .x = iterations, .y = table.numbers(c), .spread = {}};
    curves.insert(name == "loss" ? curves.begin() : curves.end(), std::move(curve));
  }
  return curves;
}

/// One per protocol and part of the data that checks used.
std::vector<report::Curve> check_curves(const fs::path& path) {
  const report::CsvTable table = report::read_csv(path);
  if (table.rows.empty()) return {};
  const std::vector<double> done = table.numbers(table.column("iterations_done"));
  const std::vector<double> mean = table.numbers(table.column("mean"));
  const std::vector<double> spread = table.numbers(table.column("std"));
  const std::size_t protocol = table.column("protocol");
  const std::size_t split = table.column("split");
  std::map<std::string, report::Curve> curves;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string name =
        str("protocol ", table.rows[r][protocol], " on ", table.rows[r][split]);
    report::Curve& curve = curves[name];
    curve.name = name;
    curve.x.push_back(done[r]);
    curve.y.push_back(mean[r]);
    curve.spread.push_back(spread[r]);
  }
  std::vector<report::Curve> list;
  for (auto& [name, curve] : curves) list.push_back(std::move(curve));
  return list;
}

}  // namespace

void add_curves_of_run(report::SetReport& report, const ReportSource& source) {
  if (!source.run) {
    report.gaps.push_back({kSection,
                           "Only a run folder keeps the loss of every iteration; give that in the "
                           "place of the set:",
                           "retort report RUN"});
    return;
  }
  const methods::RunFolder& run = *source.run;
  if (fs::exists(run.metrics())) report.metrics = metric_curves(run.metrics());
  if (fs::exists(run.evaluations())) report.checks = check_curves(run.evaluations());
  if (report.metrics.empty()) {
    report.gaps.push_back(
        {kSection, "The run made less than two iterations: there is no curve.", ""});
    return;
  }
  if (!report.checks.empty()) return;
  const std::int64_t tenth =
      std::max<std::int64_t>(1, std::int64_t(report.metrics[0].y.size() / 10));
  report.gaps.push_back({kSection, "No checks were made during the run; another run makes some:",
                         str("retort condense --config ", shell_word(run.config().string()),
                             " --eval-every ", tenth)});
}

}  // namespace retort::commands
