#include "experiments/dd_ranking/study.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/kernels/uncounted.h"
#include "lib/nn/network.h"

namespace retort::experiments::dd_ranking {
namespace {

/// Whether students of the set learn classes alone as it is.
bool only_hard(const Study& study) {
  if (study.protocol.taught()) return false;
  const auto* soft = std::get_if<data::SoftLabels>(&study.set.labels);
  return soft == nullptr || soft->by_teachers();
}

/// A set that has learned a step size is trained at this one, everything else searches.
std::vector<double> rates_of_set(const Study& study) {
  const bool learned = study.protocol.step_size == "learned" && study.set.learned_lr;
  return learned ? std::vector<double>{*study.set.learned_lr} : study.protocol.lr_search;
}

/// Students learn the labels of the set as it is.
void leave_out_teachers(eval::Protocol& protocol) {
  const eval::Protocol plain;
  protocol.labels = plain.labels;
  protocol.teacher_batch_norm = plain.teacher_batch_norm;
  protocol.loss = plain.loss;
}

/// What decides a score, but no network of it: with another weight all networks stay.
void leave_out_score(eval::Protocol& protocol) {
  const eval::Protocol plain;
  protocol.score = plain.score;
  protocol.score_weight = plain.score_weight;
  protocol.lr_search.clear();
  protocol.augment_hard = plain.augment_hard;
  protocol.hard_test_every = plain.hard_test_every;
  protocol.real_epochs = plain.real_epochs;
  protocol.real_batch_size = plain.real_batch_size;
  protocol.real_lr = plain.real_lr;
  protocol.networks = plain.networks;
}

/// Of the network on all real images.
eval::Protocol real_protocol(const eval::Protocol& of) {
  eval::Protocol protocol;
  protocol.name = of.name;
  protocol.epochs = of.real_epochs;
  protocol.schedule = "steps";
  if (of.real_epochs > 1) protocol.drop_epochs = {of.real_epochs / 2};
  protocol.batch_size = of.real_batch_size;
  protocol.test_every = of.hard_test_every;
  protocol = eval::without_augmentation(protocol);
  return protocol;
}

std::string subject_text(Subject subject) {
  switch (subject) {
    case Subject::Real:
      return "real images";
    case Subject::Set:
      return "the set";
    case Subject::Random:
      return "random images";
  }
  return "";
}

/// One repetition under way.
class Trainer {
 public:
  Trainer(const Study& study, const Surroundings& around, std::uint64_t seed)
      : study_(study),
        around_(around),
        seed_(seed),
        random_(around.random_set(seed)),
        network_(
            nn::make_network(study.network, study.dataset.shape(), study.dataset.num_classes())) {}

  Outcome operator()(const Training& training) const {
    Outcome outcome{.training = training, .runs = {}};
    std::string divergence;
    for (const double rate : training.rates) {
      try {
        outcome.runs.emplace_back(trained(training, rate));
      } catch (const NumericalError& e) {
        divergence = e.what();
        log::warn(str("step size ", rate, " is out of the choice: ", divergence));
        outcome.runs.emplace_back();
      }
    }
    if (outcome.best() == nullptr) throw NumericalError(divergence);
    return outcome;
  }

 private:
  eval::RunResult trained(const Training& training, double rate) const {
    const eval::Protocol protocol = protocol_of(study_, training, rate);
    const eval::Material material = material_of(training, protocol);
    const auto keeper = around_.keeper ? around_.keeper(material, protocol) : nullptr;
    const eval::Evaluator evaluator(study_.dataset, protocol);
    announce(training, evaluator, material, keeper.get());
    return evaluator
        .evaluate(material, study_.network, {seed_}, around_.progress, &around_.stop, keeper.get())
        .runs.front();
  }

  eval::Material material_of(const Training& training, const eval::Protocol& protocol) const {
    if (training.subject == Subject::Real) return {.training = {}, .real_images = true};
    const bool of_set = training.subject == Subject::Set;
    eval::Material material = around_.material(of_set ? study_.set : random_, protocol);
    if (training.hard) {
      material.hard_labels = protocol.taught();
      material.training.labels = data::HardLabels{data::hard_classes(material.training.labels)};
    }
    return material;
  }

  void announce(const Training& training, const eval::Evaluator& evaluator,
                const eval::Material& material, eval::RunKeeper* keeper) const {
    if (keeper != nullptr && keeper->find(seed_)) return;
    std::string line =
        str("seed ", seed_, ": training ", network_->name(), " on ", subject_text(training.subject),
            training.hard ? " with hard labels" : "", training.augmented ? ", augmented" : "",
            ", step size ", evaluator.protocol().lr);
    if (study_.dataset.device().is_cpu()) {
      const kernels::Uncounted uncounted;
      line += ": about " + duration_text(evaluator.predicted_seconds(material, *network_, 1));
    }
    log::info(line);
  }

  const Study& study_;
  const Surroundings& around_;
  std::uint64_t seed_;
  data::SyntheticSet random_;
  std::unique_ptr<const nn::Network> network_;
};

}  // namespace

std::vector<Training> trainings(const Study& study) {
  const std::vector<double> of_set = rates_of_set(study);
  const std::vector<double>& search = study.protocol.lr_search;
  const bool hard = only_hard(study);
  // What a set has learned is its own: random images have their classes.
  const bool random_hard = hard || !study.protocol.taught();
  std::vector<Training> list;
  if (study.protocol.score == "ars") {
    for (const bool augmented : {true, false}) {
      list.push_back({Subject::Set, hard, augmented, of_set});
      list.push_back({Subject::Random, random_hard, augmented, search});
    }
    return list;
  }
  if (!study.real_accuracy) {
    list.push_back({Subject::Real, true, false, {study.protocol.real_lr}});
  }
  const bool augment_hard = !study.protocol.taught() || study.protocol.augment_hard;
  if (!hard) list.push_back({Subject::Set, true, augment_hard, search});
  list.push_back({Subject::Set, hard, true, of_set});
  list.push_back({Subject::Random, random_hard, true, search});
  return list;
}

eval::Protocol protocol_of(const Study& study, const Training& training, double step_size) {
  eval::Protocol protocol = study.protocol;
  if (training.subject == Subject::Real) protocol = real_protocol(study.protocol);
  const bool beside_soft = training.hard && study.protocol.taught();
  if (beside_soft && !training.augmented) leave_out_teachers(protocol);
  if (!training.augmented) protocol = eval::without_augmentation(protocol);
  if (training.hard && study.protocol.score == "lrs") {
    protocol.test_every = study.protocol.hard_test_every;
  }
  leave_out_score(protocol);
  protocol.step_size = "protocol";
  protocol.lr = step_size;
  return protocol;
}

double best_of(const eval::RunResult& run) { return std::max(run.last, run.best.value_or(0)); }

const std::optional<eval::RunResult>* Outcome::best() const {
  const std::optional<eval::RunResult>* best = nullptr;
  for (const auto& run : runs) {
    if (run && (best == nullptr || best_of(*run) > best_of(**best))) best = &run;
  }
  return best;
}

double Outcome::accuracy() const { return best_of(**best()); }
double Outcome::step_size() const { return training.rates.at(std::size_t(best() - runs.data())); }

std::vector<Repetition> make(const Study& study, const Surroundings& around) {
  const std::vector<Training> all = trainings(study);
  std::vector<Repetition> repetitions;
  for (const std::uint64_t seed : study.seeds) {
    Repetition repetition{.seed = seed, .outcomes = {}};
    const Trainer trainer(study, around, seed);
    for (const Training& training : all) {
      if (training.subject == Subject::Real && !repetitions.empty()) continue;
      repetition.outcomes.push_back(trainer(training));
    }
    repetitions.push_back(std::move(repetition));
  }
  return repetitions;
}

}  // namespace retort::experiments::dd_ranking
