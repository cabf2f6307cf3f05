#pragma once
// What a study ends with: results.json (schema retort.continual/1), the table that people read,
// accuracies.csv and the curve.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "experiments/continual/study.h"

namespace retort::experiments::continual {

/// Accuracies of a step are those of all networks of all orders.
/// @param orders all of the study, each with all of its steps
nlohmann::json to_json(const Study& study, const std::vector<OrderResult>& orders);

/// From a document of to_json: one line per step, the protocol named above, the last step below.
std::string to_table(const nlohmann::json& document);

/// From a document of to_json: mean accuracy over the steps, with its spread, as an SVG picture.
std::string to_svg(const nlohmann::json& document);

/// One row per network, of what there is so far.
std::string to_csv(const std::vector<OrderResult>& orders);

}  // namespace retort::experiments::continual
