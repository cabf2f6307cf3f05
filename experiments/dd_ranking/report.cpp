#include "experiments/dd_ranking/report.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/report.h"

namespace retort::experiments::dd_ranking {
namespace {

using nlohmann::json;

json spread_json(const std::vector<double>& runs) {
  const eval::Spread found = eval::spread(runs);
  return {{"mean", found.mean}, {"std", found.std}, {"runs", runs}};
}

const char* name_of(Subject subject) {
  switch (subject) {
    case Subject::Real:
      return "real";
    case Subject::Set:
      return "set";
    case Subject::Random:
      return "random";
  }
  throw Error("unknown subject of a training");
}

/// The same training in every repetition that has it.
std::vector<const Outcome*> outcomes_of(const std::vector<Repetition>& all,
                                        const Training& training) {
  std::vector<const Outcome*> found;
  for (const Repetition& repetition : all) {
    for (const Outcome& outcome : repetition.outcomes) {
      const Training& made = outcome.training;
      if (made.subject == training.subject && made.hard == training.hard &&
          made.augmented == training.augmented) {
        found.push_back(&outcome);
      }
    }
  }
  return found;
}

json trials_json(const Outcome& outcome) {
  json trials = json::array();
  for (std::size_t i = 0; i < outcome.runs.size(); ++i) {
    json trial = {{"lr", outcome.training.rates[i]}, {"best", nullptr}, {"last", nullptr}};
    if (const auto& run = outcome.runs[i]) {
      trial["best"] = best_of(*run);
      trial["last"] = run->last;
    }
    trials.push_back(std::move(trial));
  }
  return trials;
}

json training_json(const std::vector<const Outcome*>& outcomes) {
  const Training& training = outcomes.front()->training;
  std::vector<double> accuracies;
  std::vector<double> rates;
  json trials = json::array();
  double seconds = 0;
  for (const Outcome* outcome : outcomes) {
    accuracies.push_back(outcome->accuracy());
    rates.push_back(outcome->step_size());
    trials.push_back(trials_json(*outcome));
    for (const auto& run : outcome->runs) seconds += run ? run->seconds : 0;
  }
  return {{"trained_on", name_of(training.subject)},
          {"labels", training.hard ? "hard" : "soft"},
          {"augmented", training.augmented},
          {"accuracy", spread_json(accuracies)},
          {"lr", rates},
          {"trials", trials},
          {"seconds", seconds}};
}

double fraction(const Outcome& outcome) { return outcome.accuracy() / 100; }

double fraction(const Repetition& repetition, Subject subject, bool augmented) {
  for (const Outcome& outcome : repetition.outcomes) {
    const Training& training = outcome.training;
    if (training.subject == subject && training.augmented == augmented) return fraction(outcome);
  }
  throw Error(str("a score without a training on ", name_of(subject), " images"));
}

std::vector<double> percents(const std::vector<double>& fractions) {
  std::vector<double> result;
  for (const double value : fractions) result.push_back(100 * value);
  return result;
}

std::string spread_text(const json& spread, int digits = 2) {
  const bool one = spread.at("runs").size() == 1;
  const std::string mean = fixed(spread.at("mean").get<double>(), digits);
  return one ? mean : mean + " ± " + fixed(spread.at("std").get<double>(), digits);
}

/// "0.01", or of repetitions that chose differently "0.01, 0.05".
std::string rates_text(const json& rates) {
  std::vector<std::string> texts;
  for (const json& rate : rates) {
    const std::string text = config::number_text(rate.get<double>());
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  return join(texts);
}

using Row = std::vector<std::string>;

Row training_row(const json& training, const std::string& set) {
  const auto subject = training.at("trained_on").get<std::string>();
  return {subject == "set" ? set : subject,
          training.at("labels").get<std::string>(),
          training.at("augmented").get<bool>() ? "yes" : "no",
          spread_text(training.at("accuracy")),
          rates_text(training.at("lr")),
          fixed(training.at("seconds").get<double>(), 1)};
}

}  // namespace

LabelAccuracies label_accuracies(const Study& study, const std::vector<Repetition>& all,
                                 std::size_t repetition) {
  LabelAccuracies accuracies;
  accuracies.real_hard = study.real_accuracy ? *study.real_accuracy / 100
                                             : fraction(all.front(), Subject::Real, false);
  // The set with hard labels comes before the set as it is, and may be the same.
  for (const Outcome& outcome : all[repetition].outcomes) {
    const Training& training = outcome.training;
    if (training.subject == Subject::Random) accuracies.random = fraction(outcome);
    if (training.subject != Subject::Set) continue;
    if (training.hard) accuracies.set_hard = fraction(outcome);
    accuracies.set = fraction(outcome);
  }
  return accuracies;
}

AugmentationAccuracies augmentation_accuracies(const Repetition& repetition) {
  return {.set_augmented = fraction(repetition, Subject::Set, true),
          .random_augmented = fraction(repetition, Subject::Random, true),
          .set_plain = fraction(repetition, Subject::Set, false),
          .random_plain = fraction(repetition, Subject::Random, false)};
}

json to_json(const Study& study, const std::vector<Repetition>& repetitions) {
  const eval::Protocol& protocol = study.protocol;
  json out = {{"schema", "retort.ranking/1"},
              {"protocol", protocol.name},
              {"protocol_options", protocol.options_in_use()},
              {"network", study.network},
              {"seeds", study.seeds},
              {"score", protocol.score},
              {"weight", protocol.score_weight},
              {"trainings", json::array()}};
  for (const Training& training : trainings(study)) {
    out["trainings"].push_back(training_json(outcomes_of(repetitions, training)));
  }
  std::vector<double> scores;
  std::vector<double> first;
  std::vector<double> second;
  for (std::size_t i = 0; i < repetitions.size(); ++i) {
    if (protocol.score == "lrs") {
      const LabelAccuracies found = label_accuracies(study, repetitions, i);
      scores.push_back(found.score(protocol.score_weight));
      first.push_back(found.hlr());
      second.push_back(found.ior());
    } else {
      const AugmentationAccuracies found = augmentation_accuracies(repetitions[i]);
      scores.push_back(found.score(protocol.score_weight));
      first.push_back(found.ior_augmented());
      second.push_back(found.ior_plain());
    }
  }
  const bool lrs = protocol.score == "lrs";
  out[protocol.score] = spread_json(scores);
  out[lrs ? "hlr" : "ior_augmented"] = spread_json(percents(first));
  out[lrs ? "ior" : "ior_plain"] = spread_json(percents(second));
  if (lrs) out["real_accuracy_given"] = study.real_accuracy ? json(*study.real_accuracy) : json();
  return out;
}

std::vector<Row> training_rows(const json& document) {
  std::vector<Row> rows{{"trained on", "labels", "augmented", "best* %", "step size", "seconds"}};
  if (const json given = document.value("real_accuracy_given", json()); given.is_number()) {
    rows.push_back({"real", "hard", "", fixed(given.get<double>(), 2), "given", ""});
  }
  for (const json& training : document.at("trainings")) {
    rows.push_back(training_row(training, document.at("set").get<std::string>()));
  }
  return rows;
}

std::vector<Row> score_rows(const json& document) {
  const auto weight = config::number_text(document.at("weight").get<double>());
  if (document.at("score") == "lrs") {
    return {{"HLR", spread_text(document.at("hlr")), "real - set, hard labels"},
            {"IOR", spread_text(document.at("ior")), "set - random"},
            {"LRS", spread_text(document.at("lrs")), str("weight ", weight, " of IOR")}};
  }
  return {{"IOR, augmented", spread_text(document.at("ior_augmented")), "set - random"},
          {"IOR, plain", spread_text(document.at("ior_plain")), "set - random, not augmented"},
          {"ARS", spread_text(document.at("ars")), str("weight ", weight, " of augmented")}};
}

std::string judging_text(const json& document) {
  const auto seeds = document.at("seeds").get<std::vector<std::uint64_t>>();
  const std::string over = seeds.size() == 1 ? str("one repetition (seed ", join(seeds), ")")
                                             : str("mean ± population std over ", seeds.size(),
                                                   " repetitions (seeds ", join(seeds), ")");
  return str(document.at("dataset").get<std::string>(), ", tested on ",
             document.at("tested_on").get<std::string>(), "; ",
             document.at("network").get<std::string>(), "; ", over,
             ", each with random images of its own");
}

std::string selection_text(const json& document) {
  const auto tested_on = document.at("tested_on").get<std::string>();
  return str("* chosen on the ", tested_on == "test" ? "test images" : tested_on,
             " among all tests and step sizes, as this protocol does: optimistic");
}

std::string to_table(const json& document, const eval::Protocol& protocol,
                     bool mirror_changes_class) {
  std::string out = eval::protocol_line(protocol, mirror_changes_class) + "\n";
  out += str(judging_text(document), "\n\n");
  out += columns(training_rows(document), {.numbers_from = 3});
  out += str(selection_text(document), "\n\n");
  return out + columns(score_rows(document));
}

}  // namespace retort::experiments::dd_ranking
