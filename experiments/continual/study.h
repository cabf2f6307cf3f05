#pragma once
// Class-incremental learning from condensed sets: classes come in steps, each is condensed when it
// comes, and fresh networks are trained on what is left of all of them (as GDumb, Prabhu et al.,
// ECCV 2020; with condensed sets in Zhao and Bilen, ICML 2021 and WACV 2023).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "experiments/continual/class_steps.h"
#include "lib/core/progress.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/evaluator.h"
#include "lib/eval/protocol.h"
#include "methods/method.h"

namespace retort::experiments::continual {

enum class Variant {
  Fresh,  ///< new networks in every step, with outputs for all classes of the dataset
  Kept    ///< KeptNetworks, in orders whose classes are sorted within each step
};

/// What is studied.
struct Study {
  const data::ImageDataset& dataset;
  Variant variant = Variant::Fresh;
  std::int64_t orders = 5;             ///< of classes: the NumPy permutations of seeds 0, 1, ...
  std::int64_t steps = 5;              ///< of equally many classes
  std::int64_t ipc = 20;               ///< stored images of a class
  std::int64_t images_per_stored = 1;  ///< decoded ones, for predictions
  std::int64_t runs = 3;               ///< fresh networks in every step
  std::uint64_t seed = 0;              ///< of condensing
  /// Whether the preprocessing of `dataset` was fitted to its images rather than published. It then
  /// knows of classes that have not come yet and is not used: a step condenses in statistics of its
  /// own classes, networks see everything in those of the first step of the order.
  bool fitted_statistics = false;
  double hold_out = 0;  ///< part of every class that `dataset` tests on; 0: real test images
  std::string method;   ///< by name, for messages
  /// A fresh method for every step.
  std::function<std::unique_ptr<methods::DistillationMethod>()> make_method;
  eval::Protocol protocol;  ///< how these networks are trained
  std::string config;       ///< `key = value` lines of all of it, kept with every set

  /// The classes of every step of an order. @throws ConfigError as equal_steps
  std::vector<Classes> classes_of(std::int64_t order) const;
  std::string network() const { return protocol.network_for(dataset.shape()); }
  /// Different ones in every order.
  std::vector<std::uint64_t> seeds_of(std::int64_t order) const;
};

struct StepResult {
  Classes classes;                   ///< that came in this step
  std::int64_t classes_seen = 0;     ///< until then
  std::int64_t images = 0;           ///< that networks were trained on
  std::int64_t stored = 0;           ///< images in memory
  double condensing_seconds = 0;     ///< of this step's set
  eval::NetworkResult networks;      ///< tested on all classes seen
  std::vector<double> by_step = {};  ///< percent, mean over networks: of the classes of each step
};

struct OrderResult {
  std::int64_t order = 0;
  std::vector<StepResult> steps;
};

/// Whoever has a study made.
struct Surroundings {
  /// order-<o>/step-<s>/ with o from 0 and s from 1 hold a run folder each.
  std::filesystem::path folder;
  data::Provenance provenance;  ///< of every set, but for its configuration
  std::string go_on;            ///< the command that continues an interrupted study
  /// Where the fresh networks of a step go; null: nowhere. Kept ones go into its folder.
  std::function<std::unique_ptr<eval::RunKeeper>(
      const std::filesystem::path& step_folder, const eval::Material& material,
      const data::ImageDataset& tested_on, const eval::Protocol& protocol)>
      keeper;
  /// SHA-256 of all that the accuracies of a kept network depend on, but for what it began with;
  /// null: nothing is compared.
  std::function<std::string(const eval::Material& material, const data::ImageDataset& tested_on,
                            const eval::Protocol& protocol)>
      key{};
  /// Told of what there is after every step.
  std::function<void(const std::vector<OrderResult>&)> after_step;
  ProgressSink& progress;
  const StopFlag& stop;
};

/// Condenses and tests, order by order and step by step. What a step condenses depends on the
/// images of its own classes, the seed, and the numbers of order and step alone. Sets that lie in
/// the folder already are taken from there, networks from the keeper.
/// @throws DataError for a set there that was condensed from another dataset;
///         Interrupted when a stop was requested, with what was finished kept; else as methods::run
///         and eval::Evaluator::evaluate
std::vector<OrderResult> make(const Study& study, const Surroundings& surroundings);

}  // namespace retort::experiments::continual
