#include "experiments/continual/study.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "experiments/condensed_set.h"
#include "experiments/continual/kept_networks.h"
#include "experiments/continual/memory.h"
#include "experiments/continual/own_statistics.h"
#include "experiments/continual/prediction.h"
#include "experiments/outlook.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::experiments::continual {
namespace {

namespace fs = std::filesystem;

Classes joined(Classes classes, const Classes& more) {
  classes.insert(classes.end(), more.begin(), more.end());
  return classes;
}

/// Of the classes of each step, what part of their test images was classified rightly.
std::vector<double> accuracy_by_step(const std::vector<std::vector<std::int64_t>>& confusion,
                                     const std::vector<Classes>& steps, std::size_t seen) {
  std::vector<double> result;
  for (std::size_t s = 0; s < seen; ++s) {
    std::int64_t right = 0;
    std::int64_t all = 0;
    for (const std::int64_t c : steps[s]) {
      const auto& row = confusion[std::size_t(c)];
      right += row[std::size_t(c)];
      for (const std::int64_t count : row) all += count;
    }
    result.push_back(all > 0 ? 100.0 * double(right) / double(all) : 0);
  }
  return result;
}

class Run {
 public:
  Run(const Study& study, const Surroundings& around)
      : study_(study),
        around_(around),
        cost_(predict(study)),
        outlook_(around.progress, cost_.total_seconds(), study.dataset.device().is_cpu()) {}

  std::vector<OrderResult> operator()() {
    std::vector<OrderResult> results;
    for (std::int64_t order = 0; order < study_.orders; ++order) {
      results.push_back({order, {}});
      seen_.clear();
      const std::vector<Classes> steps = study_.classes_of(order);
      dataset_.emplace(preprocessed_by(steps.front()));
      memory_.emplace(dataset_->preprocessing());
      kept_.emplace(study_, *dataset_, order);
      for (std::size_t step = 0; step < steps.size(); ++step) {
        place_ = {order, std::int64_t(step)};
        results.back().steps.push_back(one_step(steps));
        around_.after_step(results);
      }
    }
    return results;
  }

 private:
  /// All images in the statistics of these classes, unless they have published ones.
  data::ImageDataset preprocessed_by(const Classes& classes) const {
    const data::ImageDataset& whole = study_.dataset;
    if (!study_.fitted_statistics) return whole;
    return whole.with_preprocessing(own_mean_std(whole.only_classes(classes)));
  }

  struct Place {
    std::int64_t order = 0;
    std::int64_t step = 0;  ///< from 0
  };

  StepResult one_step(const std::vector<Classes>& steps) {
    const auto step = std::size_t(place_.step);
    const data::SyntheticSet set = condensed(steps[step]);
    memory_->add(set, steps[step]);
    seen_ = joined(std::move(seen_), steps[step]);
    StepResult result{.classes = steps[step],
                      .classes_seen = std::int64_t(seen_.size()),
                      .images = memory_->size(),
                      .stored = memory_->stored(),
                      .condensing_seconds = set.provenance.wall_seconds,
                      .networks = tested(study_.protocol.for_set(set))};
    result.by_step = accuracy_by_step(result.networks.confusion, steps, step + 1);
    return result;
  }

  /// "order 1 of 5, step 2 of 5: "
  std::string title() const {
    return str("order ", place_.order + 1, " of ", study_.orders, ", step ", place_.step + 1,
               " of ", study_.steps, ": ");
  }

  fs::path folder() const {
    return around_.folder / str("order-", place_.order) / str("step-", place_.step + 1);
  }

  const StepCost& step_cost() const { return cost_.steps[std::size_t(place_.step)]; }

  std::string step_config(const Classes& classes) const {
    return str(study_.config, "order = ", place_.order, "\nstep = ", place_.step + 1,
               "\nclasses = ", join(classes, ","), "\n");
  }

  data::SyntheticSet condensed(const Classes& classes) {
    const std::string config = step_config(classes);
    if (auto set = finished_set(folder(), config, study_.dataset.info().sha256)) {
      outlook_.skip(step_cost().condensing_seconds);
      return std::move(*set);
    }
    log::info(str(title(), "condensing ", classes.size(), " classes with ", study_.method));
    const data::ImageDataset only = preprocessed_by(classes).only_classes(classes);
    methods::RunContext context{
        .dataset = only,
        .ipc = study_.ipc,
        .rng = Rng(study_.seed).child("order", place_.order).child("step", place_.step),
        .seed = study_.seed,
        .hold_out = study_.hold_out};
    const auto method = study_.make_method();
    outlook_.begin(title(), step_cost().condensing_seconds);
    data::SyntheticSet set = condensed_set({.method = *method,
                                            .context = context,
                                            .folder = folder(),
                                            .config = config,
                                            .provenance = around_.provenance,
                                            .go_on = around_.go_on},
                                           outlook_, around_.stop);
    outlook_.end();
    return set;
  }

  eval::NetworkResult tested(const eval::Protocol& protocol) {
    try {
      return study_.variant == Variant::Kept ? learned_on(protocol) : fresh(protocol);
    } catch (const Interrupted&) {
      throw Interrupted(str("stopped in ", title(), "all sets and networks that are finished are ",
                            "kept in ", around_.folder.string(), ", go on with ", around_.go_on));
    }
  }

  void announce(std::int64_t missing) const {
    if (missing == 0) return;
    log::info(str(title(), "training ", missing, missing == 1 ? " network" : " networks", " on ",
                  memory_->size(), " images of ", seen_.size(), " classes"));
  }

  eval::NetworkResult learned_on(const eval::Protocol& protocol) {
    const KeptNetworks::Step step{.memory = memory_->images(),
                                  .seen = seen_,
                                  .protocol = protocol,
                                  .config = study_.config,
                                  .key = around_.key,
                                  .folder = folder()};
    const std::int64_t found = kept_->found(step);
    const double of_one = step_cost().network_seconds / double(study_.runs);
    outlook_.skip(of_one * double(found));
    announce(study_.runs - found);
    outlook_.begin(title(), of_one * double(study_.runs - found));
    auto result = kept_->learn(step, outlook_, around_.stop);
    outlook_.end();
    return result;
  }

  eval::NetworkResult fresh(const eval::Protocol& protocol) {
    const data::ImageDataset seen = dataset_->test_only_classes(seen_);
    const eval::Material material{.training = memory_->images()};
    const auto seeds = study_.seeds_of(place_.order);
    const auto keeper = around_.keeper(folder(), material, seen, protocol);
    std::int64_t missing = 0;
    for (const auto seed : seeds) missing += keeper != nullptr && keeper->find(seed) ? 0 : 1;
    const double of_one = step_cost().network_seconds / double(seeds.size());
    outlook_.skip(of_one * double(std::int64_t(seeds.size()) - missing));
    announce(missing);
    outlook_.begin(title(), of_one * double(missing));
    auto result =
        eval::Evaluator(seen, protocol)
            .evaluate(material, study_.network(), seeds, outlook_, &around_.stop, keeper.get());
    outlook_.end();
    return result;
  }

  const Study& study_;
  const Surroundings& around_;
  Cost cost_;
  Outlook outlook_;
  Place place_;
  std::optional<data::ImageDataset> dataset_;  ///< as the networks of the order see it
  std::optional<Memory> memory_;
  Classes seen_;
  std::optional<KeptNetworks> kept_;
};

}  // namespace

std::vector<Classes> Study::classes_of(std::int64_t order) const {
  auto result = equal_steps(numpy_permutation(std::uint32_t(order), dataset.num_classes()), steps);
  if (variant == Variant::Kept) {
    for (Classes& classes : result) std::sort(classes.begin(), classes.end());
  }
  return result;
}

std::vector<std::uint64_t> Study::seeds_of(std::int64_t order) const {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < runs; ++i) seeds.push_back(std::uint64_t(order * runs + i));
  return seeds;
}

std::vector<OrderResult> make(const Study& study, const Surroundings& surroundings) {
  return Run(study, surroundings)();
}

}  // namespace retort::experiments::continual
