#include "lib/eval/report.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::eval {
namespace {

using nlohmann::json;

json best_json(const NetworkResult& result, const std::string& tested_on) {
  if (!result.best_mean) return nullptr;
  json runs = json::array();
  for (const auto& run : result.runs) runs.push_back(run.best.value_or(run.last));
  return {{"mean", *result.best_mean},
          {"std", spread(runs.get<std::vector<double>>()).std},
          {"runs", runs},
          {"selected_on", tested_on}};
}

json network_json(const NetworkResult& result, const std::string& tested_on) {
  json runs = json::array();
  for (const auto& run : result.runs) runs.push_back(run.last);
  return {{"network", result.network},
          {"accuracy", {{"mean", result.mean}, {"std", result.std}, {"runs", runs}}},
          {"best", best_json(result, tested_on)},
          {"per_class", result.per_class},
          {"confusion", result.confusion},
          {"seconds", result.seconds}};
}

json bytes_json(const SubjectResult& subject) {
  return {{"images", subject.image_bytes}, {"labels", subject.label_bytes}};
}

json protocol_json(const Protocol& protocol_in) {
  Protocol protocol = protocol_in;  // describing binds to fields that may be set
  config::OptionTable table;
  protocol.describe(table);
  return table.resolved();
}

json subset_json(const EvaluationReport& report) {
  return report.subset_per_class > 0 ? json(report.subset_per_class) : json();
}

using Row = std::vector<std::string>;

/// Columns that not every table has.
struct Columns {
  bool best = false;
  bool step_size = false;
};

Row header(const Columns& columns) {
  Row row{"trained on", "network", "accuracy %"};
  if (columns.best) row.emplace_back("best* %");
  if (columns.step_size) row.emplace_back("step size");
  for (const char* title : {"images", "bytes", "label bytes", "SGD steps", "seconds"}) {
    row.emplace_back(title);
  }
  return row;
}

/// One run has no spread.
std::string accuracy_text(const NetworkResult& result) {
  const std::string mean = fixed(result.mean, 2);
  return result.runs.size() == 1 ? mean : mean + " ± " + fixed(result.std, 2);
}

std::vector<Row> subject_rows(const SubjectResult& subject, const Columns& columns) {
  std::vector<Row> rows;
  for (const auto& result : subject.networks) {
    Row row{subject.name, result.network, accuracy_text(result)};
    if (columns.best) row.push_back(result.best_mean ? fixed(*result.best_mean, 2) : "-");
    if (columns.step_size) row.push_back(str(subject.lr));
    row.push_back(std::to_string(subject.decoded_images));
    row.push_back(bytes_text(double(subject.image_bytes)));
    row.push_back(bytes_text(double(subject.label_bytes)));
    row.push_back(std::to_string(subject.sgd_steps));
    row.push_back(fixed(result.seconds, 1));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string protocol_line(const Protocol& protocol, bool mirror_changes_class) {
  const auto options = protocol.train_options(mirror_changes_class);
  const bool augmented = !options.augmentation.operations.empty();
  std::string line = str(
      "protocol ", protocol.name, ": ", options.epochs, " epochs, batch ", options.batch_size, ", ",
      augmented ? "augmentation " + options.augmentation.text() : std::string("no augmentation"));
  if (options.cutmix_probability > 0) line += str(", CutMix p ", options.cutmix_probability);
  return line;
}

bool any_best(const EvaluationReport& report) {
  const auto has = [](const SubjectResult& subject) {
    return std::any_of(subject.networks.begin(), subject.networks.end(),
                       [](const NetworkResult& r) { return r.best_mean.has_value(); });
  };
  return has(report.subject) || std::any_of(report.baselines.begin(), report.baselines.end(), has);
}

}  // namespace

json to_json(const EvaluationReport& report) {
  json out = {{"schema", "retort.evaluation/1"},
              {"set", report.set},
              {"set_sha256", report.set_sha256},
              {"protocol", report.protocol.name},
              {"protocol_options", protocol_json(report.protocol)},
              {"dataset", report.dataset},
              {"dataset_sha256", report.dataset_sha256},
              {"subset_per_class", subset_json(report)},
              {"tested_on", report.tested_on},
              {"class_names", report.class_names},
              {"seeds", report.seeds},
              {"results", json::array()},
              {"baselines", json::array()},
              {"bytes", bytes_json(report.subject)},
              {"decoded_images", report.subject.decoded_images},
              {"sgd_steps", report.subject.sgd_steps},
              {"lr", report.subject.lr}};
  for (const auto& result : report.subject.networks) {
    out["results"].push_back(network_json(result, report.tested_on));
  }
  for (const auto& baseline : report.baselines) {
    for (const auto& result : baseline.networks) {
      json entry = network_json(result, report.tested_on);
      entry["method"] = baseline.name;
      entry["bytes"] = bytes_json(baseline);
      entry["decoded_images"] = baseline.decoded_images;
      entry["sgd_steps"] = baseline.sgd_steps;
      entry["lr"] = baseline.lr;
      out["baselines"].push_back(std::move(entry));
    }
  }
  return out;
}

std::string to_table(const EvaluationReport& report) {
  const Columns shown{.best = any_best(report),
                      .step_size = report.protocol.step_size == "learned"};
  std::vector<Row> rows{header(shown)};
  const auto append = [&](const SubjectResult& subject) {
    for (auto& row : subject_rows(subject, shown)) rows.push_back(std::move(row));
  };
  append(report.subject);
  for (const auto& baseline : report.baselines) append(baseline);

  std::string out = protocol_line(report.protocol, report.mirror_changes_class) + "\n";
  const std::string over = report.seeds.size() == 1
                               ? str("one network (seed ", report.seeds.front(), ")")
                               : str("mean ± population std over ", report.seeds.size(),
                                     " networks (seeds ", join(report.seeds), ")");
  out += str(report.dataset, ", tested on ", report.tested_on, "; ", over, "\n");
  if (report.subset_per_class > 0) {
    out += str("the set was condensed from a subset, ", report.subset_per_class,
               " training images per class, not from the whole dataset\n");
  }
  out += "\n";
  out += columns(rows, {.numbers_from = 2});  // the names of set and network to the left
  if (shown.best) {
    out += str("* selected on the ", report.tested_on == "test" ? "test images" : report.tested_on,
               " over several tests: optimistic\n");
  }
  return out;
}

}  // namespace retort::eval
