#pragma once
// What a search ends with: results.json (schema retort.nas/1), the table that people read,
// architectures.csv and a picture for every proxy.

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "experiments/nas/study.h"

namespace retort::experiments::nas {

/// Scores are means over seeds. Rankings are compared by Spearman's rho (ranking.h) over all
/// architectures, and over the k that a proxy puts first.
nlohmann::json to_json(const Study& study, const Outcome& outcome);

/// The rest from a document of to_json.

/// A line per proxy, the protocols named above it.
std::string to_table(const nlohmann::json& document);

/// A row per architecture: its choices, its size, test accuracy of the reference (mean, and of
/// every seed), held-out accuracy by every proxy.
std::string to_csv(const nlohmann::json& document);

/// Accuracy by a proxy over that of the reference, coloured by norm, as an SVG picture.
std::string to_svg(const nlohmann::json& document, const std::string& proxy);

}  // namespace retort::experiments::nas
