#include "lib/eval/report.h"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "lib/config/radius.h"
#include "lib/core/spread_text.h"
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

const char* attack_name(const Attack& attack) {
  return attack.kind == Attack::Kind::Fgsm ? "fgsm" : "pgd";
}

json attack_json(const Attack& attack) {
  json out = {{"attack", attack_name(attack)}, {"radius", attack.radius}};
  if (attack.kind == Attack::Kind::Pgd) {
    out["steps"] = attack.steps;
    out["restarts"] = attack.restarts;
  }
  return out;
}

json robust_json(const NetworkResult& result) {
  json out = json::array();
  for (const RobustResult& robust : result.robust) {
    json entry = attack_json(robust.attack);
    entry["accuracy"] = {{"mean", robust.mean}, {"std", robust.std}, {"runs", robust.runs}};
    out.push_back(std::move(entry));
  }
  return out;
}

json network_json(const NetworkResult& result, const std::string& tested_on) {
  json runs = json::array();
  for (const auto& run : result.runs) runs.push_back(run.last);
  json out = {{"network", result.network},
              {"accuracy", {{"mean", result.mean}, {"std", result.std}, {"runs", runs}}},
              {"best", best_json(result, tested_on)},
              {"per_class", result.per_class},
              {"confusion", result.confusion},
              {"seconds", result.seconds}};
  if (result.under) {
    out["augmentation"] = result.under->augmentation;
    out["sgd_steps"] = result.under->sgd_steps;
  }
  if (!result.robust.empty()) out["robust"] = robust_json(result);
  return out;
}

json bytes_json(const SubjectResult& subject) {
  return {{"images", subject.image_bytes},
          {"labels", subject.label_bytes},
          {"label_values", subject.label_bytes - subject.view_bytes},
          {"label_views", subject.view_bytes}};
}

/// Networks on something beside the set: what a baseline has of its own, but its name.
json beside_json(const SubjectResult& subject, const NetworkResult& result,
                 const std::string& tested_on) {
  json entry = network_json(result, tested_on);
  entry["bytes"] = bytes_json(subject);
  entry["decoded_images"] = subject.decoded_images;
  if (!result.under) entry["sgd_steps"] = subject.sgd_steps;
  entry["lr"] = subject.lr;
  return entry;
}

json teachers_json(const EvaluationReport& report) {
  if (!report.teachers) return nullptr;
  return {{"file", report.teachers->file},
          {"sha256", report.teachers->sha256},
          {"networks", report.teachers->note},
          {"bytes", report.teacher_bytes}};
}

json hard_labels_json(const EvaluationReport& report) {
  if (!report.hard_labels) return nullptr;
  json out = json::array();
  for (const auto& result : report.hard_labels->networks) {
    out.push_back(beside_json(*report.hard_labels, result, report.tested_on));
  }
  return out;
}

json cross_architecture_json(const EvaluationReport& report) {
  if (!report.cross_architecture) return nullptr;
  const std::string& source = report.cross_architecture->source;
  json means = json::array();
  const auto add = [&](const SubjectResult& subject) {
    const Transfer found = transfer(subject, source);
    means.push_back(
        {{"trained_on", subject.name}, {"networks", found.networks}, {"mean", found.mean}});
  };
  add(report.subject);
  if (report.hard_labels) add(*report.hard_labels);
  for (const auto& baseline : report.baselines) add(baseline);
  return {{"pool", report.cross_architecture->pool}, {"source", source}, {"transfer", means}};
}

/// Every set and baseline, network by network.
json augmentations_json(const EvaluationReport& report) {
  json list = json::array();
  const auto add = [&](const SubjectResult& subject) {
    for (const AugmentationSummary& summary : over_augmentations(subject)) {
      list.push_back({{"trained_on", subject.name},
                      {"network", summary.network},
                      {"best",
                       {{"augmentation", summary.best},
                        {"mean", summary.best_mean},
                        {"selected_on", report.tested_on}}},
                      {"mean", summary.mean}});
    }
  };
  add(report.subject);
  for (const auto& baseline : report.baselines) add(baseline);
  return list.empty() ? json() : list;
}

json subset_json(const EvaluationReport& report) {
  return report.subset_per_class > 0 ? json(report.subset_per_class) : json();
}

using Row = std::vector<std::string>;

/// Columns that not every table has.
struct Columns {
  bool augmentation = false;
  bool best = false;
  std::vector<Attack> attacks = {};
  bool step_size = false;
  bool view_bytes = false;  ///< among label bytes
};

/// "pgd 8/255 %"
std::string attack_title(const Attack& attack) {
  return str(attack_name(attack), " ", config::radius_text(attack.radius), " %");
}

Row header(const Columns& columns) {
  Row row{"trained on", "network"};
  if (columns.augmentation) row.emplace_back("augmentation");
  row.emplace_back("accuracy %");
  if (columns.best) row.emplace_back("best* %");
  for (const Attack& attack : columns.attacks) row.push_back(attack_title(attack));
  if (columns.step_size) row.emplace_back("step size");
  for (const char* title : {"images", "bytes", "label bytes"}) row.emplace_back(title);
  if (columns.view_bytes) row.emplace_back("of them views");
  for (const char* title : {"SGD steps", "seconds"}) row.emplace_back(title);
  return row;
}

std::vector<Row> subject_rows(const SubjectResult& subject, const Columns& columns) {
  std::vector<Row> rows;
  for (const auto& result : subject.networks) {
    const std::size_t runs = result.runs.size();
    Row row{subject.name, result.network};
    if (columns.augmentation) row.push_back(result.under ? result.under->augmentation : "");
    row.push_back(mean_and_spread(result.mean, result.std, runs));
    if (columns.best) row.push_back(result.best_mean ? fixed(*result.best_mean, 2) : "-");
    for (const auto& robust : result.robust) {
      row.push_back(mean_and_spread(robust.mean, robust.std, runs));
    }
    if (columns.step_size) row.push_back(str(subject.lr));
    row.push_back(std::to_string(subject.decoded_images));
    row.push_back(bytes_text(double(subject.image_bytes)));
    row.push_back(bytes_text(double(subject.label_bytes)));
    if (columns.view_bytes) row.push_back(bytes_text(double(subject.view_bytes)));
    row.push_back(std::to_string(result.under ? result.under->sgd_steps : subject.sgd_steps));
    row.push_back(fixed(result.seconds, 1));
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The mean over transfer architectures, in the columns of `rows`.
Row transfer_row(const SubjectResult& subject, const std::string& source, const Columns& shown) {
  const Transfer found = transfer(subject, source);
  Row row{subject.name, str("mean of ", found.networks, " others")};
  if (shown.augmentation) row.push_back(subject.networks.front().under->augmentation);
  row.push_back(fixed(found.mean, 2));
  return row;
}

/// Best and mean over augmentations, network by network.
void add_summaries(std::vector<Row>& rows, const SubjectResult& subject) {
  for (const AugmentationSummary& summary : over_augmentations(subject)) {
    rows.push_back({subject.name, summary.network, str("best: ", summary.best, "*"),
                    fixed(summary.best_mean, 2)});
    rows.push_back({subject.name, summary.network, "mean", fixed(summary.mean, 2)});
  }
}

/// "augmentations in the place of the protocol's: none for 301 epochs, dsa for 1001"
std::string augmentations_text(const EvaluationReport& report) {
  std::vector<std::string> texts;
  for (const auto& name : report.augmentations) {
    const auto options =
        with_augmentation(report.protocol, name).train_options(report.mirror_changes_class);
    texts.push_back(str(name, " for ", options.epochs, " epochs"));
  }
  return join(texts);
}

/// ", recorded labels of views, KL at temperature 20"; empty for the labels of the set.
std::string labels_text(const Protocol& protocol) {
  if (!protocol.taught()) return "";
  std::string text = protocol.labels == "views"      ? ", recorded labels of views"
                     : protocol.labels == "teachers" ? ", labels of teachers asked view by view"
                                                     : ", recorded labels of images";
  if (protocol.teacher_batch_norm == "batch") text += " on the statistics of mini-batches";
  if (protocol.loss == "kl") {
    text += str(", KL at temperature ", protocol.temperature);
    if (protocol.temperature_factor == "square") text += " times its square";
  }
  if (protocol.loss == "mse-ce") {
    text += str(", squared error and ", protocol.hard_weight, " times cross-entropy");
  }
  return text;
}

/// ", patches shuffled 2x2, crops from 0.5, mirrored, cutmix": what is drawn beside augmentation.
std::string drawn_views_text(const Protocol& protocol) {
  if (protocol.labels != "teachers" && protocol.labels != "static") return "";
  std::string text;
  if (protocol.patch_shuffle > 1) {
    text += str(", patches shuffled ", protocol.patch_shuffle, "x", protocol.patch_shuffle);
  }
  if (protocol.crop_area < 1) text += str(", crops from ", protocol.crop_area);
  if (protocol.flip) text += ", mirrored";
  if (protocol.mix != "none") text += ", " + protocol.mix;
  return text;
}

/// "fkd, epochs = 200, ..." of its lines.
std::string recipe_text(const std::string& lines) {
  std::string text = lines.substr(0, lines.find_last_not_of('\n') + 1);
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) {
    text.replace(at, 1, ", ");
  }
  return text;
}

bool any_best(const EvaluationReport& report) {
  const auto has = [](const SubjectResult& subject) {
    return std::any_of(subject.networks.begin(), subject.networks.end(),
                       [](const NetworkResult& r) { return r.best_mean.has_value(); });
  };
  return has(report.subject) || (report.hard_labels && has(*report.hard_labels)) ||
         std::any_of(report.baselines.begin(), report.baselines.end(), has);
}

/// "ResNet-18: seed 0; VGG-11: seeds 0, 1", of networks with fewer than all seeds.
std::string fewer_runs_text(const EvaluationReport& report) {
  std::vector<std::string> texts;
  for (const NetworkResult& result : report.subject.networks) {
    if (result.runs.size() == report.seeds.size()) continue;
    std::vector<std::uint64_t> seeds;
    for (const RunResult& run : result.runs) seeds.push_back(run.seed);
    const std::string text =
        str(result.network, seeds.size() == 1 ? ": seed " : ": seeds ", join(seeds));
    // A network stands here once for each augmentation.
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  return join(texts, "; ");
}

}  // namespace

std::vector<AugmentationSummary> over_augmentations(const SubjectResult& subject) {
  std::vector<AugmentationSummary> summaries;
  std::vector<std::vector<double>> means;
  for (const NetworkResult& result : subject.networks) {
    if (!result.under) continue;
    if (summaries.empty() || summaries.back().network != result.network) {
      summaries.push_back({.network = result.network, .best = "", .best_mean = -1});
      means.emplace_back();
    }
    AugmentationSummary& summary = summaries.back();
    means.back().push_back(result.mean);
    summary.mean = spread(means.back()).mean;
    if (result.mean <= summary.best_mean) continue;
    summary.best = result.under->augmentation;
    summary.best_mean = result.mean;
  }
  return summaries;
}

Transfer transfer(const SubjectResult& subject, const std::string& source) {
  std::vector<double> means;
  for (const NetworkResult& result : subject.networks) {
    if (result.network != source) means.push_back(result.mean);
  }
  if (means.empty()) return {.networks = 0, .mean = std::numeric_limits<double>::quiet_NaN()};
  return {.networks = means.size(), .mean = spread(means).mean};
}

std::string protocol_line(const Protocol& protocol, bool mirror_changes_class) {
  const auto options = protocol.train_options(mirror_changes_class);
  const bool augmented = !options.augmentation.operations.empty();
  std::string line = str("protocol ", protocol.name, ": ", options.epochs, " epochs, batch ",
                         options.batch_size, labels_text(protocol));
  if (protocol.labels != "views") {
    const std::string views = drawn_views_text(protocol);
    if (augmented) line += ", augmentation " + options.augmentation.text();
    const bool on_pixels = protocol.pixel_augmentation != "none";
    if (on_pixels) line += str(", augmentation ", protocol.pixel_augmentation, " of 8-bit pixels");
    if (!augmented && !on_pixels && views.empty()) line += ", no augmentation";
    line += views;
  }
  if (options.cutmix_probability > 0) line += str(", CutMix p ", options.cutmix_probability);
  return line;
}

json to_json(const EvaluationReport& report) {
  json out = {{"schema", "retort.evaluation/1"},
              {"set", report.set},
              {"set_sha256", report.set_sha256},
              {"protocol", report.protocol.name},
              {"protocol_options", report.protocol.options_in_use()},
              {"dataset", report.dataset},
              {"dataset_sha256", report.dataset_sha256},
              {"subset_per_class", subset_json(report)},
              {"tested_on", report.tested_on},
              {"class_names", report.class_names},
              {"seeds", report.seeds},
              {"results", json::array()},
              {"baselines", json::array()},
              {"teachers", teachers_json(report)},
              {"label_recipe", report.label_recipe.empty() ? json() : json(report.label_recipe)},
              {"hard_labels", hard_labels_json(report)},
              {"augmentations", augmentations_json(report)},
              {"cross_architecture", cross_architecture_json(report)},
              {"bytes", bytes_json(report.subject)},
              {"decoded_images", report.subject.decoded_images},
              {"sgd_steps", report.subject.sgd_steps},
              {"lr", report.subject.lr}};
  for (const auto& result : report.subject.networks) {
    out["results"].push_back(network_json(result, report.tested_on));
  }
  for (const auto& baseline : report.baselines) {
    for (const auto& result : baseline.networks) {
      json entry = beside_json(baseline, result, report.tested_on);
      entry["method"] = baseline.name;
      out["baselines"].push_back(std::move(entry));
    }
  }
  return out;
}

std::string to_table(const EvaluationReport& report) {
  const Columns shown{.augmentation = !report.augmentations.empty(),
                      .best = any_best(report),
                      .attacks = report.attacks,
                      .step_size = report.protocol.step_size == "learned",
                      .view_bytes = report.subject.view_bytes > 0};
  std::vector<Row> rows{header(shown)};
  const auto append = [&](const SubjectResult& subject) {
    for (auto& row : subject_rows(subject, shown)) rows.push_back(std::move(row));
    if (const auto& cross = report.cross_architecture) {
      rows.push_back(transfer_row(subject, cross->source, shown));
    }
    if (report.augmentations.size() > 1) add_summaries(rows, subject);
  };
  append(report.subject);
  if (report.hard_labels) append(*report.hard_labels);
  for (const auto& baseline : report.baselines) append(baseline);

  std::string out = protocol_line(report.protocol, report.mirror_changes_class) + "\n";
  const std::string over = report.seeds.size() == 1
                               ? str("one network (seed ", report.seeds.front(), ")")
                               : str("mean ± population std over ", report.seeds.size(),
                                     " networks (seeds ", join(report.seeds), ")");
  out += str(report.dataset, ", tested on ", report.tested_on, "; ", over, "\n");
  if (shown.augmentation) {
    out += str("augmentations in the place of the protocol's: ", augmentations_text(report), "\n");
  }
  if (const std::string fewer = fewer_runs_text(report); !fewer.empty()) {
    out += str("fewer networks: ", fewer, "\n");
  }
  if (const auto& cross = report.cross_architecture) {
    out += str("networks of pool ", cross->pool, "; means are over all but ", cross->source, ", ",
               cross->said ? "which the set was condensed in\n" : "the protocol's\n");
  }
  if (report.subset_per_class > 0) {
    out += str("the set was condensed from a subset, ", report.subset_per_class,
               " training images per class, not from the whole dataset\n");
  }
  if (report.teachers) {
    out +=
        str("teachers ", report.teachers->note, " of ", report.teachers->file, ", ",
            bytes_text(double(report.teacher_bytes)),
            report.protocol.labels == "teachers" ? " that students need beside the set\n" : "\n");
  }
  if (!report.label_recipe.empty()) {
    out += str("labels by ", recipe_text(report.label_recipe), "\n");
  }
  if (report.hard_labels_left_out) {
    out += "no networks were trained on hard labels beside (--no-hard)\n";
  }
  if (report.protocol.taught() && report.baselines.empty()) {
    out +=
        "what real images reach with labels of the same teachers was not asked: --baselines "
        "random --teachers FILE\n";
  }
  out += "\n";
  // Names to the left.
  out += columns(rows, {.numbers_from = shown.augmentation ? std::size_t{3} : std::size_t{2}});
  if (report.augmentations.size() > 1) {
    out += str("* the augmentation is chosen on the ",
               report.tested_on == "test" ? "test images" : report.tested_on, ": optimistic\n");
  }
  if (shown.best) {
    out += str("* selected on the ", report.tested_on == "test" ? "test images" : report.tested_on,
               " over several tests: optimistic\n");
  }
  return out;
}

}  // namespace retort::eval
