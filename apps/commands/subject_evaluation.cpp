#include "apps/commands/subject_evaluation.h"

#include <cstdint>
#include <utility>

#include "apps/cli/signals.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/kernels/uncounted.h"
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"
#include "lib/storage/views_file.h"

namespace retort::commands {
namespace {

/// Of the labels that are stored, or would be, those that networks are trained on.
storage::LabelBytes labels_used(const Subject& subject, const eval::Protocol& protocol) {
  const data::SyntheticSet& set = subject.set;
  storage::LabelBytes used =
      subject.path.empty() ? storage::label_bytes(set) : storage::label_bytes(subject.path);
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  const bool own = soft != nullptr && !soft->by_teachers();
  const bool views = protocol.labels == "views" && !subject.hard_labels;
  const bool of_images = protocol.labels == "static" || (protocol.labels == "set" && own);
  if (!of_images || subject.hard_labels) used.soft = 0;
  if (!views) used.views_values = used.views_meta = 0;
  return used;
}

eval::SubjectResult measured(const Subject& subject, const eval::Material& material,
                             const eval::Protocol& protocol) {
  const auto stored = subject.path.empty() ? storage::stored_bytes(subject.set)
                                           : storage::stored_bytes(subject.path);
  const storage::LabelBytes labels = labels_used(subject, protocol);
  eval::SubjectResult result;
  result.name = subject.name;
  result.image_bytes = stored.images;
  result.label_bytes = labels.hard + labels.soft + labels.views_values + labels.views_meta;
  result.view_bytes = labels.views_meta;
  result.decoded_images = material.training.images.size(0);
  return result;
}

}  // namespace

eval::SubjectResult SubjectEvaluation::operator()(const Subject& subject) const {
  eval::Protocol protocol = report_.protocol.for_set(subject.set);
  // Of the set also for a baseline that stores more images than it.
  protocol.batch_size = report_.protocol.batch_size;
  eval::Material material = teachers_.material(subject.set, protocol);
  material.hard_labels = subject.hard_labels;
  eval::SubjectResult result = measured(subject, material, protocol);
  result.lr = protocol.lr;
  result.sgd_steps = eval::sgd_steps(protocol, material, dataset_);
  cli::expect_polling();
  for (const auto& runs : nets_) {
    for (auto& network : judged(subject.name, material, protocol, runs)) {
      result.networks.push_back(std::move(network));
    }
  }
  return result;
}

std::vector<eval::NetworkResult> SubjectEvaluation::judged(const std::string& name,
                                                           const eval::Material& material,
                                                           const eval::Protocol& protocol,
                                                           const NetworkRuns& runs) const {
  std::vector<eval::NetworkResult> results;
  for (const auto& augmentation : report_.augmentations) {
    const eval::Protocol under = eval::with_augmentation(protocol, augmentation);
    results.push_back(
        train_and_test(str(name, ", augmentation ", augmentation), material, under, runs));
    results.back().under =
        eval::AugmentedBy{augmentation, eval::sgd_steps(under, material, dataset_)};
  }
  if (report_.augmentations.empty()) {
    results.push_back(train_and_test(name, material, protocol, runs));
  }
  return results;
}

void SubjectEvaluation::announce(const std::string& name, const eval::Evaluator& evaluator,
                                 const eval::Material& material, const NetworkRuns& runs,
                                 eval::RunKeeper& keeper) const {
  std::int64_t missing = 0;
  for (const std::uint64_t seed : runs.seeds) missing += keeper.find(seed) ? 0 : 1;
  if (missing == 0) return;
  const auto network = nn::make_network(runs.network, dataset_.shape(), dataset_.num_classes());
  std::string line = str("training ", network->name(), " on ", name, ", ", missing,
                         missing == 1 ? " network" : " networks");
  if (dataset_.device().is_cpu()) {
    const kernels::Uncounted uncounted;
    line += ": about " + duration_text(evaluator.predicted_seconds(material, *network, missing));
  }
  log::info(line);
}

eval::NetworkResult SubjectEvaluation::train_and_test(const std::string& name,
                                                      const eval::Material& material,
                                                      const eval::Protocol& protocol,
                                                      const NetworkRuns& runs) const {
  const auto keeper =
      finished_.keeper(evaluation_key(material, dataset_, protocol, runs.network, report_.attacks));
  const eval::Evaluator evaluator(dataset_, protocol, report_.attacks);
  announce(name, evaluator, material, runs, *keeper);
  try {
    auto result = evaluator.evaluate(material, runs.network, runs.seeds, program_.terminal,
                                     &program_.stop, keeper.get());
    program_.terminal.finish();
    return result;
  } catch (const Interrupted& e) {
    finished_.interrupted(e);
  }
}

}  // namespace retort::commands
