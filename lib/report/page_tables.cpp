#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "lib/core/spread_text.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/report/figure.h"
#include "lib/report/sections.h"

namespace retort::report {
namespace {

/// Facts of all sets, a row per name in the order of their first appearance, a column per set.
Table facts_table(const ReportData& data, const std::vector<Fact> SetReport::*facts) {
  Table table{.header = {"property"}, .rows = {}, .numbers_from = std::size_t(-1)};
  std::vector<std::string> names;
  for (const SetReport& set : data.sets) {
    table.header.push_back(set.name);
    for (const auto& [name, text] : set.*facts) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  for (const auto& name : names) {
    Row row{name};
    for (const SetReport& set : data.sets) {
      const auto& own = set.*facts;
      const auto found = std::find_if(own.begin(), own.end(),
                                      [&](const Fact& fact) { return fact.first == name; });
      row.push_back(found == own.end() ? "-" : found->second);
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

/// What accuracies must have in common to stand in one table.
struct Judging {
  std::string protocol;
  std::string dataset;
  std::string dataset_sha256;
  std::int64_t subset_per_class = 0;
  std::string tested_on;
  std::string options;
  std::string teachers_sha256;
  std::string label_recipe;
  auto operator<=>(const Judging&) const = default;
};

Judging judging_of(const Evaluation& evaluation) {
  return {evaluation.protocol,         evaluation.dataset,     evaluation.dataset_sha256,
          evaluation.subset_per_class, evaluation.tested_on,   evaluation.options,
          evaluation.teachers_sha256,  evaluation.label_recipe};
}

using Entries = std::vector<std::pair<const SetReport*, const Evaluation*>>;

std::map<Judging, Entries> by_judging(const ReportData& data) {
  std::map<Judging, Entries> groups;
  for (const SetReport& set : data.sets) {
    for (const Evaluation& evaluation : set.evaluations) {
      groups[judging_of(evaluation)].emplace_back(&set, &evaluation);
    }
  }
  return groups;
}

/// Whether two files say something of the same networks on the same thing.
bool stands_twice(const Entries& entries, const SetReport& set, const Judged& judged) {
  std::size_t count = 0;
  for (const auto& [other, evaluation] : entries) {
    if (other != &set) continue;
    count += std::size_t(std::count_if(
        evaluation->judged.begin(), evaluation->judged.end(), [&](const Judged& known) {
          return known.subject == judged.subject && known.network == judged.network &&
                 known.augmentation == judged.augmentation;
        }));
  }
  return count > 1;
}

/// Baselines say whose they are where there are several sets; what several files tell of says which
/// one it is from.
std::string subject_text(const ReportData& data, const Entries& entries, const SetReport& set,
                         const Evaluation& evaluation, const Judged& judged) {
  std::string text = judged.baseline ? judged.subject : set.name;
  if (judged.baseline && data.sets.size() > 1) text += str(" (beside ", set.name, ")");
  return stands_twice(entries, set, judged) ? str(text, ", ", evaluation.file) : text;
}

template <class Has>
bool any(const Entries& entries, Has has) {
  return std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
    const auto& judged = entry.second->judged;
    return std::any_of(judged.begin(), judged.end(), has);
  });
}

bool is_augmented(const Judged& judged) { return !judged.augmentation.empty(); }

/// "fgsm 8/255 %" of every attack of the first network that has any.
std::vector<std::string> attack_titles(const Entries& entries) {
  std::vector<std::string> titles;
  for (const auto& [set, evaluation] : entries) {
    for (const Judged& judged : evaluation->judged) {
      for (const auto& attacked : judged.attacked) {
        if (std::find(titles.begin(), titles.end(), attacked.attack) == titles.end()) {
          titles.push_back(attacked.attack);
        }
      }
    }
  }
  return titles;
}

std::string attacked_text(const Judged& judged, const std::string& attack) {
  for (const auto& attacked : judged.attacked) {
    if (attacked.attack == attack) {
      return mean_and_spread(attacked.mean, attacked.std, judged.runs.size());
    }
  }
  return "-";
}

Table accuracy_table(const ReportData& data, const Entries& entries) {
  const bool best = any(entries, [](const Judged& judged) { return judged.best.has_value(); });
  const std::vector<std::string> attacks = attack_titles(entries);
  const bool augmented = any(entries, is_augmented);
  Table table{.header = {"trained on", "network"}, .rows = {}, .numbers_from = 2};
  if (augmented) {
    table.header.emplace_back("augmentation");
    table.numbers_from = 3;
  }
  table.header.emplace_back("accuracy %");
  if (best) table.header.emplace_back("best* %");
  for (const auto& attack : attacks) table.header.push_back(attack + " %");
  for (const char* name : {"images", "image bytes", "label bytes", "SGD steps", "seconds"}) {
    table.header.emplace_back(name);
  }
  for (const auto& [set, evaluation] : entries) {
    for (const Judged& judged : evaluation->judged) {
      Row row{subject_text(data, entries, *set, *evaluation, judged), judged.network};
      if (augmented) row.push_back(judged.augmentation);
      row.push_back(mean_and_spread(judged.mean, judged.std, judged.runs.size()));
      if (best) row.push_back(judged.best ? fixed(*judged.best, 2) : "-");
      for (const auto& attack : attacks) row.push_back(attacked_text(judged, attack));
      for (const auto& text :
           {str(judged.images), bytes_text(judged.image_bytes), bytes_text(judged.label_bytes),
            str(judged.sgd_steps), fixed(judged.seconds, 1)}) {
        row.push_back(text);
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

/// "key = value" lines side by side.
std::string one_line(const std::string& lines) {
  std::string text = lines.substr(0, lines.find_last_not_of('\n') + 1);
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) {
    text.replace(at, 1, ", ");
  }
  return text;
}

void add_protocol(Html& html, const Judging& judging, const Entries& entries) {
  const Evaluation& first = *entries.front().second;
  html.element("h3", str("Protocol ", judging.protocol, ", ", judging.dataset, ", tested on ",
                         judging.tested_on));
  std::vector<std::string> seeds;
  for (const auto& [set, evaluation] : entries) seeds.push_back(evaluation->seeds);
  const bool alike = std::all_of(seeds.begin(), seeds.end(),
                                 [&](const std::string& text) { return text == seeds.front(); });
  std::string line =
      str("Mean ± population standard deviation after the last epoch over networks "
          "of the seeds ",
          alike ? seeds.front() : join(seeds, "; then "), ".");
  if (!first.teachers.empty()) line += str(" Teachers: ", first.teachers, ".");
  if (!judging.label_recipe.empty()) line += str(" Labels: ", one_line(judging.label_recipe), ".");
  if (judging.subset_per_class > 0) {
    line +=
        str(" Condensed from a subset, ", judging.subset_per_class, " training images per class.");
  }
  if (!judging.dataset_sha256.empty()) {
    line += str(" Dataset with SHA-256 ", judging.dataset_sha256.substr(0, 12), "...");
  }
  html.element("p", line, {{"class", "soft"}});
}

std::size_t index_in(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return std::size_t(found - names.begin());
  names.push_back(name);
  return names.size() - 1;
}

/// What a heat map shows of the networks judged.
struct MapChoice {
  std::string title;
  std::string column_title;
  std::function<bool(const Judged&)> shown;
  std::string Judged::*column;
};

/// Rows: sets and baselines; columns as chosen; both in order of appearance.
HeatMap accuracy_map(const ReportData& data, const Entries& entries, const MapChoice& choice) {
  HeatMap map{.title = choice.title,
              .row_title = "trained on",
              .column_title = choice.column_title,
              .rows = {},
              .columns = {},
              .values = {}};
  std::map<std::pair<std::size_t, std::size_t>, const Judged*> values;
  for (const auto& [set, evaluation] : entries) {
    for (const Judged& judged : evaluation->judged) {
      if (!choice.shown(judged)) continue;
      const std::size_t row =
          index_in(map.rows, subject_text(data, entries, *set, *evaluation, judged));
      values[{row, index_in(map.columns, judged.*choice.column)}] = &judged;
    }
  }
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  map.values.assign(map.rows.size(), std::vector<double>(map.columns.size(), unknown));
  map.table_texts.assign(map.rows.size(), Row(map.columns.size(), "-"));
  double low = 100;
  double high = 0;
  for (const auto& [at, judged] : values) {
    const double value = judged->mean;
    map.values[at.first][at.second] = value;
    map.table_texts[at.first][at.second] = mean_and_spread(value, judged->std, judged->runs.size());
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Differences show, and the least accurate is not white.
  if (low < high) {
    map.low = low - (high - low) / 2;
    map.high = high;
  }
  return map;
}

/// Networks side by side, all under one augmentation. @param augmentation empty: the protocol's
MapChoice over_networks(const Judging& judging, const std::string& augmentation) {
  const std::string under = augmentation.empty() ? "" : str(", augmentation ", augmentation);
  return {str("Accuracy in percent, protocol ", judging.protocol, under, ", ", judging.dataset),
          "network",
          [augmentation](const Judged& judged) { return judged.augmentation == augmentation; },
          &Judged::network};
}

/// Of one network, under the augmentations that it was trained with.
MapChoice over_augmentations(const Judging& judging, const std::string& network) {
  return {
      str("Accuracy in percent by augmentation, ", network, ", protocol ", judging.protocol, ", ",
          judging.dataset),
      "augmentation",
      [network](const Judged& judged) { return is_augmented(judged) && judged.network == network; },
      &Judged::augmentation};
}

/// What networks were trained under, and which were trained under an augmentation of their own, in
/// order of appearance.
struct Variety {
  std::vector<std::string> augmentations;
  std::vector<std::string> augmented_networks;
};

Variety variety_of(const Entries& entries) {
  Variety found;
  for (const auto& [set, evaluation] : entries) {
    for (const Judged& judged : evaluation->judged) {
      index_in(found.augmentations, judged.augmentation);
      if (is_augmented(judged)) index_in(found.augmented_networks, judged.network);
    }
  }
  return found;
}

void add_score(Html& html, const Score& score, const std::string& whose) {
  html.element("h3", whose.empty() ? score.title : str(whose, ": ", score.title));
  html.element("p", score.how, {{"class", "soft"}});
  std::vector<Row> parts;
  for (const Row& part : score.parts) parts.push_back({part.at(0), part.at(2), part.at(1)});
  add_table(html, {.header = {"score", "what it is", "points"}, .rows = parts, .numbers_from = 2});
  add_table(html, {.header = score.header, .rows = score.rows, .numbers_from = 3});
  html.element("p", score.note, {{"class", "soft"}});
}

}  // namespace

std::string network_text(const Judged& judged) {
  return judged.augmentation.empty() ? judged.network
                                     : str(judged.network, ", ", judged.augmentation);
}

void add_overview(Html& html, const ReportData& data) {
  add_table(html, facts_table(data, &SetReport::facts));
}

void add_cost(Html& html, const ReportData& data) {
  const bool known = std::any_of(data.sets.begin(), data.sets.end(),
                                 [](const SetReport& set) { return !set.cost.empty(); });
  if (known) add_table(html, facts_table(data, &SetReport::cost));
}

void add_accuracy(Html& html, const ReportData& data) {
  for (const auto& [judging, entries] : by_judging(data)) {
    add_protocol(html, judging, entries);
    add_table(html, accuracy_table(data, entries));
    if (any(entries, [](const Judged& judged) { return judged.best.has_value(); })) {
      html.element(
          "p", str("* the best of several tests, chosen on ", judging.tested_on, ": optimistic."),
          {{"class", "soft"}});
    }
    for (const auto& [set, evaluation] : entries) {
      for (const auto& note : evaluation->notes) {
        html.element("p", data.sets.size() > 1 ? str(set->name, ": ", note) : note);
      }
    }
    html.open("details").element("summary", "What this protocol does");
    html.element("pre", judging.options, {{"tabindex", "0"}}).close("details");
  }
  for (const SetReport& set : data.sets) {
    for (const Score& score : set.scores) {
      add_score(html, score, data.sets.size() > 1 ? set.name : "");
    }
  }
}

void add_architectures(Html& html, const ReportData& data) {
  html.open("div", {{"class", "charts"}});
  for (const auto& [judging, entries] : by_judging(data)) {
    const Variety variety = variety_of(entries);
    std::vector<MapChoice> choices;
    for (const auto& augmentation : variety.augmentations) {
      choices.push_back(over_networks(judging, augmentation));
    }
    for (const auto& network : variety.augmented_networks) {
      choices.push_back(over_augmentations(judging, network));
    }
    for (const MapChoice& choice : choices) {
      const HeatMap map = accuracy_map(data, entries, choice);
      if (map.columns.size() > 1) add_heat_map(html, map);
    }
  }
  html.close("div");
}

}  // namespace retort::report
