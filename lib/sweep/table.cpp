#include "lib/sweep/table.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <tuple>

#include "lib/config/radius.h"
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

/// "pgd 8/255, 10 steps, 2 restarts"
std::string attack_text(const json& entry) {
  std::string text = str(entry.at("attack").get<std::string>(), " ",
                         config::radius_text(entry.at("radius").get<double>()));
  for (const char* const key : {"steps", "restarts"}) {
    if (entry.contains(key)) text += str(", ", entry.at(key).get<std::int64_t>(), " ", key);
  }
  return text;
}

std::vector<Robust> robust_of(const json& entry) {
  std::vector<Robust> all;
  for (const auto& attacked : entry.value("robust", json::array())) {
    all.push_back(
        {attack_text(attacked), attacked.at("accuracy").at("runs").get<std::vector<double>>()});
  }
  return all;
}

std::vector<double> best_of(const json& entry) {
  const json best = entry.value("best", json());
  return best.is_object() ? best.at("runs").get<std::vector<double>>() : std::vector<double>{};
}

const Robust* find_attack(const SetResult& set, const std::string& attack) {
  const auto found = std::find_if(set.robust.begin(), set.robust.end(),
                                  [&](const Robust& robust) { return robust.attack == attack; });
  return found == set.robust.end() ? nullptr : &*found;
}

/// @param holder what has `bytes` and `decoded_images`: the document, or the entry of a baseline
Row row_of(const Judgement& judgement, const json& entry, const json& holder,
           const std::string& beside) {
  Row row;
  row.group = judgement.group;
  row.labels = judgement.labels;
  row.labels.insert(row.labels.end(), judgement.how.begin(), judgement.how.end());
  row.beside = beside;
  row.protocol = judgement.document.at("protocol").get<std::string>();
  row.network = entry.at("network").get<std::string>();
  row.tested_on = judgement.document.at("tested_on").get<std::string>();
  row.dataset_sha256 = judgement.document.at("dataset_sha256").get<std::string>();
  const auto augmentation = entry.value("augmentation", "");
  if (!augmentation.empty()) row.network += ", " + augmentation;
  row.images = holder.at("decoded_images").get<std::int64_t>();
  row.image_bytes = holder.at("bytes").at("images").get<std::uint64_t>();
  row.label_bytes = holder.at("bytes").at("labels").get<std::uint64_t>();
  row.sets.push_back({.seed = judgement.seed,
                      .run = judgement.run,
                      .file = judgement.file,
                      .condense_seconds = judgement.condense_seconds,
                      .version = judgement.version,
                      .evaluate_seconds = entry.at("seconds").get<double>(),
                      .runs = entry.at("accuracy").at("runs").get<std::vector<double>>(),
                      .best = best_of(entry),
                      .robust = robust_of(entry)});
  return row;
}

/// Real images of the same number do not know which method they stand beside.
void become_baseline(Row& row, const Judgement& judgement) {
  row.labels = judgement.labels;
  std::erase_if(row.labels,
                [](const auto& label) { return label.first != "dataset" && label.first != "ipc"; });
  row.labels.insert(row.labels.end(), judgement.how.begin(), judgement.how.end());
  row.sets.front().seed.clear();
  row.sets.front().version.clear();
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
    become_baseline(rows.back(), judgement);
  }
  return rows;
}

bool is_baseline(const Row& row) { return !row.beside.empty() && row.beside != "hard labels"; }

bool same_subject(const Row& a, const Row& b) {
  const auto judged = [](const Row& row) {
    return std::tie(row.beside, row.protocol, row.network, row.tested_on, row.dataset_sha256);
  };
  if (judged(a) != judged(b)) return false;
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

/// "dm, dataset shapes, ipc 1, protocol dsa, ConvNet-3"
std::string row_text(const Row& row) {
  Options said = row.labels;
  std::erase_if(said, [](const auto& label) { return label.second.empty(); });
  return str(options_text(said), ", protocol ", row.protocol, ", ", row.network);
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

std::optional<Spread> Row::best() const {
  std::vector<double> all;
  for (const auto& set : sets) {
    if (set.best.size() != set.runs.size()) return std::nullopt;
    all.insert(all.end(), set.best.begin(), set.best.end());
  }
  return Spread{mean_of(all), population_std(all)};
}

std::vector<std::string> Row::attacks() const {
  std::vector<std::string> names;
  for (const Robust& robust : sets.front().robust) {
    if (under(robust.attack)) names.push_back(robust.attack);
  }
  return names;
}

std::optional<Spread> Row::under(const std::string& attack) const {
  std::vector<double> all;
  for (const auto& set : sets) {
    const Robust* const own = find_attack(set, attack);
    if (own == nullptr) return std::nullopt;
    all.insert(all.end(), own->runs.begin(), own->runs.end());
  }
  return Spread{mean_of(all), population_std(all)};
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

std::vector<std::string> notes_on(const std::vector<Row>& rows) {
  std::vector<std::string> notes;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const auto twin =
        std::find_if(rows.begin() + std::ptrdiff_t(i) + 1, rows.end(), [&](const Row& other) {
          return other.group == row.group && other.beside == row.beside &&
                 other.network == row.network && other.dataset_sha256 != row.dataset_sha256;
        });
    if (twin != rows.end()) {
      notes.push_back(str(row_text(row), ": results stand apart, their datasets differ, SHA-256 ",
                          row.dataset_sha256.substr(0, 12), "... and ",
                          twin->dataset_sha256.substr(0, 12), "..."));
    }
    std::set<std::string> versions;
    for (const auto& set : row.sets) versions.insert(set.version);
    if (versions.size() < 2 || !row.beside.empty()) continue;
    notes.push_back(str(row_text(row), ": sets are of different versions of the program, ",
                        join(std::vector<std::string>(versions.begin(), versions.end()))));
  }
  return notes;
}

}  // namespace retort::sweep
