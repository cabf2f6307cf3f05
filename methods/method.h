#pragma once
// The interface every condensation method implements, and how one is registered.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/progress.h"
#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/storage/state_file.h"

namespace retort::methods {

/// What a run hands to its method.
struct RunContext {
  /// Training split is what may be looked at. A method computes on its device().
  const data::ImageDataset& dataset;
  std::int64_t ipc = 1;
  Rng rng{0};                      ///< the run's root stream; take children by name
  const StopFlag* stop = nullptr;  ///< polled by whatever takes longer than seconds; none: never
  /// Told by what takes longer than an update should without a word; none: nobody listens.
  ProgressSink* progress = nullptr;
  /// Files of the prerequisites that a method has declared; empty where it has none.
  std::string experts = {};
  std::string teachers = {};
  /// What chose the images of `dataset`, so that others can be shown the same.
  std::uint64_t seed = 0;  ///< of the run
  double hold_out = 0;     ///< part of every class that is kept from it; 0: none
};

/// Networks in training on real images that a method follows (lib/train/experts.h).
struct ExpertsNeeded {
  std::string folder;  ///< where their file is to be; empty: wherever it fits
  std::string recipe;  ///< train::ExpertRecipe by name
  std::vector<std::string>
      settings;  ///< "name=value", where they differ from the recipe's defaults
  std::string net;
  std::int64_t count = 0;
  std::int64_t epochs = 0;
  std::int64_t followed = 0;  ///< the last epoch that the method looks at on its way
};

/// Networks trained on real images to the end, which a method asks (lib/train/teachers.h).
struct TeachersNeeded {
  std::string folder;  ///< where their file is to be; empty: wherever it fits
  std::string recipe;  ///< train::TeacherRecipe by name
  std::vector<std::string>
      settings;  ///< "name=value", where they differ from the recipe's defaults
  std::vector<std::string> nets;
  std::int64_t epochs = 0;
  bool batch_norm = false;                ///< whether every one must have it
  std::string class_statistics = "none";  ///< or one of train::class_averages()
};

/// What a method needs before it starts, and was not given by its options.
struct Prerequisites {
  std::optional<ExpertsNeeded> experts = {};
  std::optional<TeachersNeeded> teachers = {};
};

/// What happened in one update: the row of metrics.csv.
struct UpdateReport {
  double loss = 0;
  std::vector<std::pair<std::string, double>> columns;  ///< same names in every iteration
};

/// Floating-point operations, 1 multiply-accumulate = 2, by the path that computes them: their
/// rates differ several times.
struct Flops {
  double fused = 0;    ///< kernels for whole ConvNets, with InstanceNorm, GroupNorm or BatchNorm
  double layered = 0;  ///< other ConvNets, or other powers of attention: layer by layer
  double plain = 0;    ///< LibTorch: second order, other architectures
};

/// Predicted cost, for `--dry-run`, the line before the start and `list presets`.
struct Work {
  Flops setup;
  Flops per_iteration;
  double memory_bytes = 0;  ///< rough: pixels of the dataset and activations; 0: not predicted
};

/// One algorithm that condenses a dataset. Lives for one run; used by one thread. Order of calls:
/// prerequisites; check on a fresh object; initialize or load_state, after it or not; then update;
/// snapshot and save_state in between.
class DistillationMethod {
 public:
  virtual ~DistillationMethod() = default;
  virtual std::int64_t iterations() const = 0;  ///< 1 for methods that are not iterative
  /// What a run on this context will cost; needs no initialize.
  virtual Work work(const RunContext& run) const = 0;
  /// What whoever runs it has to find or make first, and to name in the RunContext.
  /// @throws ConfigError if options disagree
  virtual Prerequisites prerequisites() const { return {}; }
  /// Before prerequisites are made, and for whoever will not call initialize: finds what that would
  /// refuse, as far as options and files that were given tell, without computing.
  /// @throws ConfigError, DataError, StorageError
  virtual void check(RunContext& /*run*/) {}
  /// @throws ConfigError if options and data disagree; Interrupted when `run.stop` was requested
  virtual void initialize(RunContext& run) = 0;
  /// @param iteration counts from 0
  /// @throws Interrupted when `run.stop` was requested; this update then has not happened
  virtual UpdateReport update(std::int64_t iteration) = 0;
  /// Images, class_index, labels and decoder, detached on the CPU. The driver adds the rest.
  virtual data::SyntheticSet snapshot() const = 0;
  /// Options that name files whose contents load_state compares with those of the state: a resumed
  /// run may find them elsewhere.
  virtual std::vector<std::string> files_by_content() const { return {}; }
  /// Files of networks that go into the set; none before initialize or load_state.
  virtual std::vector<data::Asset> assets() const { return {}; }
  virtual void save_state(storage::StateWriter& out) const = 0;  ///< enough to go on bit for bit
  virtual void load_state(RunContext& run, const storage::StateReader& in) = 0;
};

/// The options of one method, ready to be set, and then the method itself.
class MethodFactory {
 public:
  virtual ~MethodFactory() = default;
  virtual config::OptionTable options() = 0;  ///< bound to this object
  /// Fills in defaults that follow from the ipc; once the options are set, before create.
  virtual void settle(std::int64_t /*ipc*/) {}
  virtual std::unique_ptr<DistillationMethod> create() const = 0;
};

/// A factory for a struct with describe(OptionTable&) and a method constructed from it.
template <class Options, class Method>
class SimpleFactory : public MethodFactory {
 public:
  explicit SimpleFactory(Options options = {}) : options_(std::move(options)) {}
  config::OptionTable options() override {
    config::OptionTable table;
    options_.describe(table);
    return table;
  }
  void settle(std::int64_t ipc) override {
    if constexpr (requires(Options & o) { o.settle(ipc); }) options_.settle(ipc);
  }
  std::unique_ptr<DistillationMethod> create() const override {
    return std::make_unique<Method>(options_);
  }

 private:
  Options options_;
};

/// One line of `retort list methods`.
struct MethodInfo {
  std::string name;     ///< what people type: "dm"
  std::string title;    ///< "Distribution matching"
  std::string paper;    ///< authors, venue, year
  std::string summary;  ///< one sentence
  std::unique_ptr<MethodFactory> (*factory)();
};

/// THE list of methods, in the order of `retort list methods` (methods/registry.cpp).
const std::vector<MethodInfo>& all_methods();
/// @throws ConfigError spelling out the known names
const MethodInfo& find_method(const std::string& name);

}  // namespace retort::methods
