#include "experiments/continual/prediction.h"

#include <algorithm>

#include "lib/nn/network.h"
#include "methods/prediction.h"

namespace retort::experiments::continual {
namespace {

/// Of all networks of a step that trains on `images` images.
double network_seconds(const Study& study, const Classes& seen, std::int64_t images) {
  const data::ImageDataset tested_on = study.dataset.test_only_classes(seen);
  const auto network =
      nn::make_network(study.network(), study.dataset.shape(), study.dataset.num_classes());
  // Only their number counts.
  const eval::Material material{.training = {at::empty({images, 0}), data::HardLabels{}}};
  const double passes = eval::Evaluator(tested_on, study.protocol).work(material, *network).total();
  if (study.variant == Variant::Fresh) {
    return methods::training_seconds(*network, passes, study.runs);
  }
  // One after the other; beside a pass there and back, which counts three, one of the earlier.
  constexpr double kRetention = 4.0 / 3;
  return double(study.runs) * methods::training_seconds(*network, kRetention * passes, 1);
}

}  // namespace

double Cost::condensing_seconds() const {
  double sum = 0;
  for (const StepCost& step : steps) sum += step.condensing_seconds;
  return sum * double(orders);
}

double Cost::network_seconds() const {
  double sum = 0;
  for (const StepCost& step : steps) sum += step.network_seconds;
  return sum * double(orders);
}

Cost predict(const Study& study) {
  Cost cost{.steps = {}, .orders = study.orders};
  Classes seen;
  for (const Classes& classes : study.classes_of(0)) {
    const data::ImageDataset only = study.dataset.only_classes(classes);
    const methods::RunContext context{.dataset = only, .ipc = study.ipc};
    const methods::Prediction condensing = methods::predict(*study.make_method(), context);
    seen.insert(seen.end(), classes.begin(), classes.end());
    const auto images = study.ipc * study.images_per_stored * std::int64_t(seen.size());
    cost.steps.push_back({condensing.total_seconds, network_seconds(study, seen, images)});
    cost.memory_bytes = std::max(cost.memory_bytes, condensing.memory_bytes);
  }
  return cost;
}

}  // namespace retort::experiments::continual
