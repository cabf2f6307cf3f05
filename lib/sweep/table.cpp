#include "lib/sweep/table.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::sweep {
namespace {

using nlohmann::json;

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

double population_std(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return values.empty() ? 0 : std::sqrt(sum / double(values.size()));
}

std::vector<double> all_runs(const std::vector<SetResult>& sets) {
  std::vector<double> runs;
  for (const auto& set : sets) runs.insert(runs.end(), set.runs.begin(), set.runs.end());
  return runs;
}

/// @param holder what has `bytes` and `decoded_images`: the document, or the entry of a baseline
Row row_of(const Judgement& judgement, const json& entry, const json& holder,
           const std::string& beside) {
  Row row;
  row.group = judgement.group;
  row.labels = judgement.labels;
  row.beside = beside;
  row.protocol = judgement.document.at("protocol").get<std::string>();
  row.network = entry.at("network").get<std::string>();
  const auto augmentation = entry.value("augmentation", "");
  if (!augmentation.empty()) row.network += ", " + augmentation;
  row.images = holder.at("decoded_images").get<std::int64_t>();
  row.image_bytes = holder.at("bytes").at("images").get<std::uint64_t>();
  row.label_bytes = holder.at("bytes").at("labels").get<std::uint64_t>();
  row.sets.push_back({.seed = judgement.seed,
                      .run = judgement.run,
                      .file = judgement.file,
                      .condense_seconds = judgement.condense_seconds,
                      .evaluate_seconds = entry.at("seconds").get<double>(),
                      .runs = entry.at("accuracy").at("runs").get<std::vector<double>>()});
  return row;
}

/// Real images of the same number do not know which method they stand beside.
void become_baseline(Row& row) {
  std::erase_if(row.labels,
                [](const auto& label) { return label.first != "dataset" && label.first != "ipc"; });
  row.sets.front().seed.clear();
  row.sets.front().condense_seconds = 0;
}

std::vector<Row> rows_of(const Judgement& judgement) {
  const json& document = judgement.document;
  std::vector<Row> rows;
  for (const auto& entry : document.at("results")) {
    rows.push_back(row_of(judgement, entry, document, ""));
  }
  if (document.contains("hard_labels") && document.at("hard_labels").is_array()) {
    for (const auto& entry : document.at("hard_labels")) {
      rows.push_back(row_of(judgement, entry, entry, "hard labels"));
    }
  }
  for (const auto& entry : document.at("baselines")) {
    rows.push_back(row_of(judgement, entry, entry, entry.at("method").get<std::string>()));
    become_baseline(rows.back());
  }
  return rows;
}

bool is_baseline(const Row& row) { return !row.beside.empty() && row.beside != "hard labels"; }

bool same_subject(const Row& a, const Row& b) {
  if (a.beside != b.beside || a.protocol != b.protocol || a.network != b.network) return false;
  if (!is_baseline(a)) return a.group == b.group;
  return a.labels == b.labels && a.sets.front().runs == b.sets.front().runs;
}

void add(std::vector<Row>& rows, Row row) {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const Row& known) { return same_subject(known, row); });
  if (found == rows.end()) {
    rows.push_back(std::move(row));
  } else if (!is_baseline(row)) {
    found->sets.push_back(std::move(row.sets.front()));
  }
}

}  // namespace

double SetResult::mean() const { return mean_of(runs); }

std::size_t Row::networks() const { return all_runs(sets).size(); }
double Row::mean() const { return mean_of(all_runs(sets)); }
double Row::spread() const { return population_std(all_runs(sets)); }

std::optional<double> Row::between() const {
  if (sets.size() < 2) return std::nullopt;
  std::vector<double> means;
  for (const auto& set : sets) means.push_back(set.mean());
  return population_std(means);
}

double Row::condense_seconds() const {
  std::vector<double> seconds;
  for (const auto& set : sets) seconds.push_back(set.condense_seconds);
  return mean_of(seconds);
}

double Row::evaluate_seconds() const {
  std::vector<double> seconds;
  for (const auto& set : sets) seconds.push_back(set.evaluate_seconds);
  return mean_of(seconds);
}

std::vector<Row> join_results(const std::vector<Judgement>& judgements) {
  std::vector<Row> rows;
  for (const auto& judgement : judgements) {
    try {
      for (auto& row : rows_of(judgement)) add(rows, std::move(row));
    } catch (const json::exception& e) {
      throw StorageError(str("'", judgement.file, "': is no result of an evaluation: ", e.what()));
    }
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.group < b.group; });
  return rows;
}

}  // namespace retort::sweep
