#pragma once
// DD-Ranking (NUS-HPC-AI-Lab 2025): the trainings behind a label robust score (LRS) or an
// augmentation robust score (ARS) of a set.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/progress.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/evaluator.h"
#include "lib/eval/material.h"
#include "lib/eval/protocol.h"

namespace retort::experiments::dd_ranking {

/// What is scored.
struct Study {
  const data::ImageDataset& dataset;
  const data::SyntheticSet& set;
  eval::Protocol protocol;  ///< one that ranks()
  std::string network;
  std::vector<std::uint64_t> seeds;     ///< a repetition each
  std::optional<double> real_accuracy;  ///< percent, of real data; none: it is trained for, once
};

/// What a network is trained on.
enum class Subject { Real, Set, Random };

/// One line of the result, in every repetition.
struct Training {
  Subject subject = Subject::Set;
  bool hard = false;       ///< it learns the classes of the images, whatever other labels they have
  bool augmented = false;  ///< as the protocol says
  std::vector<double> rates;  ///< step sizes; the one with the best accuracy counts
};

/// What a score needs, in the order in which it is trained: for LRS real data (unless its accuracy
/// is given), the set with hard labels (unless it has no others), the set, random images; for ARS
/// set and random images with augmentation and without.
std::vector<Training> trainings(const Study& study);

/// A network per step size.
struct Outcome {
  Training training;
  /// In the order of the rates; none where the training diverged.
  std::vector<std::optional<eval::RunResult>> runs;

  const std::optional<eval::RunResult>* best() const;  ///< null: all trainings diverged
  double accuracy() const;   ///< percent, the best of all tests of all runs
  double step_size() const;  ///< that led to it
};

struct Repetition {
  std::uint64_t seed = 0;
  std::vector<Outcome> outcomes;  ///< in the order of trainings(); real data in the first alone
};

/// Whoever has a study made.
struct Surroundings {
  /// As many real images per class as the set has, labelled as the protocol asks.
  std::function<data::SyntheticSet(std::uint64_t seed)> random_set;
  /// What networks on a set are trained on.
  std::function<eval::Material(const data::SyntheticSet&, const eval::Protocol&)> material;
  /// Where finished networks go; may be null.
  std::function<std::unique_ptr<eval::RunKeeper>(const eval::Material&, const eval::Protocol&)>
      keeper;
  ProgressSink& progress;
  const StopFlag& stop;
};

/// The protocol that the networks of a training are trained under, at one of its step sizes.
eval::Protocol protocol_of(const Study& study, const Training& training, double step_size);

/// The best of all tests of a network, the last included.
double best_of(const eval::RunResult& run);

/// Trains and tests. A network's seed is that of its repetition. A step size at which a training
/// diverges is out of the choice.
/// @throws Interrupted; NumericalError when it diverges at every step size; else as
///         eval::Evaluator::evaluate
std::vector<Repetition> make(const Study& study, const Surroundings& around);

}  // namespace retort::experiments::dd_ranking
