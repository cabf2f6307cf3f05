#include "experiments/nas/prediction.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "lib/core/parallel.h"
#include "lib/eval/evaluator.h"
#include "methods/prediction.h"

namespace retort::experiments::nas {
namespace {

/// Networks that differ in depth alone.
using Kind = std::tuple<std::int64_t, std::string, std::string, std::string>;

Kind kind_of(const Architecture& a) { return {a.config.width, a.norm, a.activation, a.pooling}; }

methods::Prediction prediction_of(const Study& study, const Proxy& proxy) {
  if (proxy.kind != Proxy::Kind::Method) return {};
  const methods::RunContext context{.dataset = study.held_out, .ipc = study.ipc};
  return methods::predict(*proxy.make_method(), context);
}

/// Stored ones.
std::int64_t set_images(const Study& study) { return study.ipc * study.held_out.num_classes(); }

/// Decoded images of a proxy.
std::int64_t images_of(const Study& study, const Proxy& proxy) {
  if (proxy.kind != Proxy::Kind::Set) return set_images(study) * proxy.images_per_stored;
  return data::hard_classes(proxy.set->labels).size(0);
}

/// Passes of images through all networks of one architecture.
struct Images {
  double training = 0;
  double test = 0;
};

Images on_proxies(const Study& study) {
  const auto seeds = double(study.seeds);
  const auto epochs = double(study.protocol.train_options(false).epochs);
  Images images;
  for (const Proxy& proxy : study.proxies) {
    images.training += seeds * epochs * double(images_of(study, proxy));
    images.test += seeds * double(study.held_out.size(data::Split::Test));
  }
  return images;
}

Images in_reference(const Study& study) {
  const auto seeds = double(study.reference_seeds);
  const auto epochs = double(study.reference_protocol.train_options(false).epochs);
  return {.training = seeds * epochs * double(reference_dataset(study).size(data::Split::Train)),
          .test = seeds * double(study.dataset.size(data::Split::Test))};
}

/// Seconds of an image on one thread, beside one on every other.
class Paces {
 public:
  Paces(const Study& study, const Clock& clock) : study_(study), clock_(clock) {
    const std::int64_t count = std::min(set_images(study), study.held_out.size(data::Split::Train));
    const Tensor rows = at::arange(count, at::kLong);
    material_.training = {
        study.held_out.batch(data::Split::Train, rows),
        data::HardLabels{study.held_out.labels(data::Split::Train).index_select(0, rows)}};
  }

  eval::Pace of(std::size_t architecture) {
    const Kind kind = kind_of(study_.grid[architecture]);
    if (!measured_.contains(kind)) measure(kind);
    const auto& [pace, macs] = measured_.at(kind);
    const double factor = double(study_.networks[architecture]->macs()) / macs;
    return {pace.training * factor, pace.test * factor};
  }

 private:
  /// In the middle of the depths searched.
  void measure(const Kind& kind) {
    std::vector<std::size_t> depths;  // ascending, as the grid
    for (std::size_t i = 0; i < study_.grid.size(); ++i) {
      if (kind_of(study_.grid[i]) == kind) depths.push_back(i);
    }
    const nn::Network& network = *study_.networks[depths[depths.size() / 2]];
    const eval::Evaluator evaluator(study_.held_out, study_.protocol);
    measured_[kind] = {evaluator.measured_pace(material_, network, thread_count(), clock_),
                       double(network.macs())};
  }

  const Study& study_;
  const Clock& clock_;
  eval::Material material_;
  std::map<Kind, std::pair<eval::Pace, double>> measured_;
};

/// Of the networks that train at once, and of the pixels.
double training_memory(const Study& study) {
  constexpr double kChunk = 32;  // of train::batch_gradient; BatchNorm takes the whole mini-batch
  double most = 0;
  for (const auto& network : study.networks) {
    const bool whole = !network->per_sample(nn::Mode::Train);
    const double images = whole ? double(study.reference_protocol.batch_size) : kChunk;
    most = std::max(most, methods::activation_bytes(*network, images));
  }
  return methods::pixel_bytes(study.dataset) + most * double(thread_count());
}

}  // namespace

std::vector<double> condensing_seconds(const Study& study) {
  std::vector<double> seconds;
  for (const Proxy& proxy : study.proxies) {
    seconds.push_back(prediction_of(study, proxy).total_seconds);
  }
  return seconds;
}

double rough_training_seconds(const Study& study) {
  constexpr double kTrainingPass = 3;  // test passes
  const Images proxies = on_proxies(study);
  const Images reference = in_reference(study);
  const double passes =
      kTrainingPass * (proxies.training + reference.training) + proxies.test + reference.test;
  methods::Flops flops;
  for (const auto& network : study.networks) {
    flops = flops + methods::forward_flops(*network, passes);
  }
  return methods::predicted_seconds(flops);
}

Cost predict(const Study& study, const Clock& clock) {
  Cost cost{.memory_bytes = training_memory(study)};
  for (const Proxy& proxy : study.proxies) {
    const methods::Prediction condensing = prediction_of(study, proxy);
    cost.condensing_seconds += condensing.total_seconds;
    cost.memory_bytes = std::max(cost.memory_bytes, condensing.memory_bytes);
  }
  const Images proxies = on_proxies(study);
  const Images reference = in_reference(study);
  const auto threads = double(thread_count());
  Paces paces(study, clock);
  for (std::size_t i = 0; i < study.grid.size(); ++i) {
    const eval::Pace pace = paces.of(i);
    const auto seconds = [&](const Images& images) {
      return (images.training * pace.training + images.test * pace.test) / threads;
    };
    cost.proxy_seconds += seconds(proxies);
    cost.reference_seconds += seconds(reference);
  }
  const auto count = std::int64_t(study.grid.size());
  cost.proxy_trainings = count * std::int64_t(study.proxies.size()) * study.seeds;
  cost.reference_trainings = count * study.reference_seeds;
  return cost;
}

}  // namespace retort::experiments::nas
