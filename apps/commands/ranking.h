#pragma once
// `retort evaluate` under a protocol that ends in a score (DD-Ranking).

#include <filesystem>
#include <string>

#include "apps/cli/command.h"
#include "apps/commands/evaluate_options.h"
#include "apps/commands/finished_networks.h"
#include "apps/commands/student_teachers.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/report.h"

namespace retort::commands {

struct RankingJob {
  const EvaluateOptions& options;
  const eval::EvaluationReport& about;  ///< set, data, protocol, seeds, teachers; no results
  const data::SyntheticSet& set;
  const data::ImageDataset& dataset;
  std::string network;
  std::filesystem::path out;  ///< of the document, beside stdout; empty: nowhere
  std::string device;
  bool json = false;
};

/// Trains what the score needs, prints its table or document and writes it.
/// @throws Interrupted saying what was kept; else as experiments::dd_ranking::make
void rank(const RankingJob& job, StudentTeachers& teachers, FinishedNetworks& finished,
          cli::Program& program);

}  // namespace retort::commands
