#pragma once
// What a score is made of: the document (schema retort.ranking/1) and the table that people read.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "experiments/dd_ranking/scores.h"
#include "experiments/dd_ranking/study.h"

namespace retort::experiments::dd_ranking {

/// Of a repetition of an LRS study. Real data was trained on in the first of them alone.
LabelAccuracies label_accuracies(const Study& study, const std::vector<Repetition>& all,
                                 std::size_t repetition);
/// Of a repetition of an ARS study.
AugmentationAccuracies augmentation_accuracies(const Repetition& repetition);

/// Score, differences and all accuracies behind them, over the repetitions.
nlohmann::json to_json(const Study& study, const std::vector<Repetition>& repetitions);

/// From such a document that also names the set (`set`), here and below: titles, then a row per
/// training; a given accuracy of real images has a row too.
std::vector<std::vector<std::string>> training_rows(const nlohmann::json& document);
/// The differences and the score: name, points, what it is.
std::vector<std::vector<std::string>> score_rows(const nlohmann::json& document);
/// "cifar10, tested on test; ConvNet-3; one repetition (seed 0), ..."
std::string judging_text(const nlohmann::json& document);
/// What every accuracy of the document was chosen on.
std::string selection_text(const nlohmann::json& document);
/// All of this as people read it in a terminal.
std::string to_table(const nlohmann::json& document, const eval::Protocol& protocol,
                     bool mirror_changes_class);

}  // namespace retort::experiments::dd_ranking
