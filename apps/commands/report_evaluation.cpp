#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "apps/commands/report_source.h"
#include "experiments/dd_ranking/report.h"
#include "lib/config/options.h"
#include "lib/config/radius.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

using nlohmann::json;

/// `null` stands for what is not a finite number.
double number(const json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

/// "pgd 8/255"
std::string attack_text(const json& entry) {
  return str(entry.at("attack").get<std::string>(), " ",
             config::radius_text(entry.at("radius").get<double>()));
}

void add_accuracies(report::Judged& judged, const json& entry) {
  const json& accuracy = entry.at("accuracy");
  judged.network = entry.at("network").get<std::string>();
  judged.augmentation = entry.value("augmentation", "");
  judged.mean = number(accuracy.at("mean"));
  judged.std = number(accuracy.at("std"));
  for (const json& run : accuracy.at("runs")) judged.runs.push_back(number(run));
  if (!entry.at("best").is_null()) judged.best = number(entry.at("best").at("mean"));
  for (const json& attacked : entry.value("robust", json::array())) {
    const json& under = attacked.at("accuracy");
    judged.attacked.push_back(
        {attack_text(attacked), number(under.at("mean")), number(under.at("std"))});
  }
  for (const json& value : entry.at("per_class")) judged.per_class.push_back(number(value));
  judged.confusion = entry.at("confusion").get<std::vector<std::vector<std::int64_t>>>();
  judged.seconds = number(entry.at("seconds"));
}

/// @param cost what has the bytes and steps: the entry of a baseline, the document of a set
report::Judged judged_of(const json& entry, const json& cost, const std::string& subject) {
  report::Judged judged;
  judged.subject = subject;
  judged.images = cost.at("decoded_images").get<std::int64_t>();
  const json& steps = entry.contains("sgd_steps") ? entry : cost;
  judged.sgd_steps = steps.at("sgd_steps").get<std::int64_t>();
  judged.image_bytes = number(cost.at("bytes").at("images"));
  judged.label_bytes = number(cost.at("bytes").at("labels"));
  add_accuracies(judged, entry);
  return judged;
}

std::string option_lines(const json& options) {
  std::string lines;
  for (const auto& [key, value] : options.items()) {
    lines += str(key, " = ", value.get<std::string>(), "\n");
  }
  return lines;
}

void add_beside(report::Evaluation& evaluation, const json& entries, const std::string& name) {
  for (const json& entry : entries) {
    const std::string subject = name.empty() ? entry.at("method").get<std::string>() : name;
    evaluation.judged.push_back(judged_of(entry, entry, subject));
    evaluation.judged.back().baseline = true;
  }
}

/// A mean over several networks stands in no row of its own.
void add_notes(report::Evaluation& evaluation, const json& document, const std::string& subject) {
  const auto name_of = [&](const json& entry) {
    const auto name = entry.at("trained_on").get<std::string>();
    return name == document.at("set") ? subject : name;
  };
  if (const json cross = document.value("cross_architecture", json()); cross.is_object()) {
    std::vector<std::string> means;
    for (const json& entry : cross.at("transfer")) {
      means.push_back(str(name_of(entry), " ", fixed(number(entry.at("mean")), 2), " % (",
                          entry.at("networks").get<std::size_t>(), ")"));
    }
    evaluation.notes.push_back(
        str("Pool ", cross.at("pool").get<std::string>(), "; mean over networks other than ",
            cross.at("source").get<std::string>(), ", in brackets how many: ", join(means), "."));
  }
  // A mean or best of one says nothing.
  std::set<std::string> augmentations;
  for (const json& entry : document.at("results")) {
    augmentations.insert(entry.value("augmentation", ""));
  }
  if (augmentations.size() < 2) return;
  for (const json& entry : document.value("augmentations", json::array())) {
    const json& best = entry.at("best");
    evaluation.notes.push_back(
        str(entry.at("trained_on").get<std::string>(), ", ", entry.at("network").get<std::string>(),
            ": mean over augmentations ", fixed(number(entry.at("mean")), 2), " %, best ",
            best.at("augmentation").get<std::string>(), " ", fixed(number(best.at("mean")), 2),
            " %, chosen on ", best.at("selected_on").get<std::string>(), "."));
  }
}

report::Evaluation evaluation_of(const json& document, const std::string& subject) {
  report::Evaluation evaluation;
  evaluation.protocol = document.at("protocol").get<std::string>();
  evaluation.dataset = document.at("dataset").get<std::string>();
  evaluation.dataset_sha256 = document.at("dataset_sha256").get<std::string>();
  if (const json subset = document.value("subset_per_class", json()); subset.is_number()) {
    evaluation.subset_per_class = subset.get<std::int64_t>();
  }
  if (const json recipe = document.value("label_recipe", json()); recipe.is_string()) {
    evaluation.label_recipe = recipe.get<std::string>();
  }
  evaluation.tested_on = document.at("tested_on").get<std::string>();
  evaluation.seeds = join(document.at("seeds").get<std::vector<std::uint64_t>>());
  evaluation.options = option_lines(document.at("protocol_options"));
  evaluation.class_names = document.at("class_names").get<std::vector<std::string>>();
  if (const json teachers = document.value("teachers", json()); teachers.is_object()) {
    evaluation.teachers = teachers.at("networks").get<std::string>();
    evaluation.teachers_sha256 = teachers.at("sha256").get<std::string>();
  }
  for (const json& entry : document.at("results")) {
    evaluation.judged.push_back(judged_of(entry, document, subject));
  }
  const json hard = document.value("hard_labels", json());
  if (hard.is_array()) add_beside(evaluation, hard, "hard labels");
  add_beside(evaluation, document.at("baselines"), "");
  add_notes(evaluation, document, subject);
  return evaluation;
}

/// Tables of a page are as long as the list of classes.
void expect_classes(const report::Evaluation& evaluation) {
  const std::size_t classes = evaluation.class_names.size();
  for (const report::Judged& judged : evaluation.judged) {
    bool fits = judged.per_class.size() == classes && judged.confusion.size() == classes;
    for (const auto& row : judged.confusion) fits = fits && row.size() == classes;
    if (fits) continue;
    throw StorageError(str("expected accuracies and confusions of ", classes,
                           " classes for network '", judged.network, "', found another number"));
  }
}

report::Evaluation read_evaluation(const json& document, const std::string& subject,
                                   const std::filesystem::path& path) {
  report::Evaluation evaluation = evaluation_of(document, subject);
  evaluation.file = path.string();
  with_context("'" + path.string() + "'", [&] { expect_classes(evaluation); });
  return evaluation;
}

report::Score score_of(json document, const std::string& subject,
                       const std::filesystem::path& path) {
  namespace ranking = experiments::dd_ranking;
  document["set"] = subject;
  auto rows = ranking::training_rows(document);
  report::Score score{
      .file = path.string(),
      .title = str("Score of protocol ", document.at("protocol").get<std::string>()),
      .how = str(ranking::judging_text(document), "."),
      .note = str(ranking::selection_text(document), "."),
      .header = rows.front(),
      .rows = {},
      .parts = ranking::score_rows(document)};
  score.rows.assign(rows.begin() + 1, rows.end());
  return score;
}

}  // namespace

ResultFile read_result(const std::filesystem::path& path, const std::string& subject) {
  const std::string where = "'" + path.string() + "'";
  try {
    const json document = json::parse(read_text(path));
    const std::string schema = document.at("schema").get<std::string>();
    const std::string about = document.value("set_sha256", "");
    if (schema == "retort.evaluation/1") return {read_evaluation(document, subject, path), about};
    if (schema == "retort.ranking/1") return {score_of(document, subject, path), about};
    throw StorageError(str(where, ": expected schema retort.evaluation/1 or retort.ranking/1, ",
                           "found ", schema));
  } catch (const json::exception& e) {
    throw StorageError(str(where, ": is no result of an evaluation that can be read: ", e.what()));
  }
}

}  // namespace retort::commands
