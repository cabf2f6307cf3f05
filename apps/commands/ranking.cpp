#include "apps/commands/ranking.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/baselines.h"
#include "apps/commands/document.h"
#include "apps/commands/kernel_options.h"
#include "experiments/dd_ranking/report.h"
#include "experiments/dd_ranking/study.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

using namespace experiments::dd_ranking;

/// What a set with labels of its own is compared with has none.
void warn_of_learned_labels(const RankingJob& job) {
  const auto* soft = std::get_if<data::SoftLabels>(&job.set.labels);
  if (job.about.protocol.taught() || soft == nullptr || soft->by_teachers()) return;
  log::warn(
      "the set has learned labels of its own, random images have their classes: the score counts "
      "these labels as information of the set");
}

Surroundings surroundings(const RankingJob& job, StudentTeachers& teachers,
                          FinishedNetworks& finished, cli::Program& program) {
  return {.random_set =
              [&job, &teachers, &program](std::uint64_t seed) {
                data::SyntheticSet random = make_baseline(parse_baseline("random"), job.set,
                                                          job.dataset, seed, program.stop);
                teachers.label({"random", random, ""}, job.set, job.about.protocol, job.dataset,
                               program);
                return random;
              },
          .material =
              [&teachers](const data::SyntheticSet& set, const eval::Protocol& protocol) {
                return teachers.material(set, protocol);
              },
          .keeper =
              [&job, &finished](const eval::Material& material, const eval::Protocol& protocol) {
                return finished.keeper(
                    evaluation_key(material, job.dataset, protocol, job.network, {}));
              },
          .progress = program.terminal,
          .stop = program.stop};
}

void announce(const Study& study) {
  std::size_t networks = 0;
  for (const Training& training : trainings(study)) networks += training.rates.size();
  log::info(str("a score of up to ", networks, " networks in each of ", study.seeds.size(),
                study.seeds.size() == 1 ? " repetition" : " repetitions"));
}

nlohmann::json document_of(const RankingJob& job, const Study& study,
                           const std::vector<Repetition>& repetitions) {
  nlohmann::json document = to_json(study, repetitions);
  // Names of set and data, as every evaluation has them.
  const nlohmann::json about = eval::to_json(job.about);
  for (const char* field : {"set", "set_sha256", "dataset", "dataset_sha256", "subset_per_class",
                            "tested_on", "teachers", "label_recipe"}) {
    document[field] = about.at(field);
  }
  document["selected_on"] = job.about.tested_on;
  document["device"] = job.device;
  document["kernels"] = kernel_counts();
  return document;
}

}  // namespace

void rank(const RankingJob& job, StudentTeachers& teachers, FinishedNetworks& finished,
          cli::Program& program) {
  const double given = job.options.real_accuracy;
  const double chance = 100 / double(job.dataset.num_classes());
  if (given >= 0 && given <= chance) {
    throw ConfigError(str("option 'real-accuracy': expected percent, above the ",
                          config::number_text(chance), " of guessing, found ",
                          config::number_text(given)));
  }
  const Study study{.dataset = job.dataset,
                    .set = job.set,
                    .protocol = job.about.protocol,
                    .network = job.network,
                    .seeds = job.about.seeds,
                    .real_accuracy = given < 0 ? std::nullopt : std::optional(given)};
  warn_of_learned_labels(job);
  announce(study);
  cli::expect_polling();
  std::vector<Repetition> repetitions;
  try {
    repetitions = make(study, surroundings(job, teachers, finished, program));
  } catch (const Interrupted& e) {
    program.terminal.finish();
    finished.interrupted(e);
  }
  program.terminal.finish();
  const nlohmann::json document = document_of(job, study, repetitions);
  if (!job.out.empty()) {
    write_text(job.out, document_text(document));
    log::info(str("written to ", job.out.string()));
  }
  cli::print(job.json
                 ? document_text(document)
                 : to_table(document, study.protocol, job.dataset.info().mirror_changes_class));
}

}  // namespace retort::commands
