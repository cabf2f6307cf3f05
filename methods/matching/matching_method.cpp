#include "methods/matching/matching_method.h"

#include <algorithm>
#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"

namespace retort::methods::matching {

MatchingMethod::MatchingMethod(MatchingOptions options, std::unique_ptr<Objective> objective)
    : options_(std::move(options)),
      objective_(std::move(objective)),
      optimizer_(options_.image_optimizer, options_.lr_images, options_.image_momentum) {}

void MatchingMethod::prepare(RunContext& run) {
  dataset_ = &run.dataset;
  ipc_ = run.ipc;
  rng_ = run.rng;
  strategy_ =
      make_strategy(options_.augmentation, options_.augmentation_style, run.dataset.info().name);
  network_ = nn::make_network(options_.net, run.dataset.shape(), run.dataset.num_classes());
  const auto available = run.dataset.smallest_class();
  if (!network_->per_sample(nn::Mode::Train) && available < options_.batch_real) {
    throw ConfigError(str("batch-real ", options_.batch_real, " with the BatchNorm network ",
                          network_->name(),
                          ": every class needs that many images, the smallest has ", available));
  }
  train::TrainedNetworksOptions training;
  training.period = options_.net_period;
  training.warmup_steps = options_.net_warmup;
  training.steps_between = options_.net_steps;
  training.batch_size = options_.net_batch;
  training.lr = options_.net_lr;
  training.augmentation = make_strategy(options_.net_augmentation, options_.augmentation_style,
                                        run.dataset.info().name);
  const Rng networks = rng_.child("networks");
  if (options_.networks == "trained") {
    source_ = train::trained_networks(network_, run.dataset, training, networks);
  } else if (options_.networks == "pool") {
    source_ = train::network_pool(network_, run.dataset,
                                  {options_.pool_size, options_.pool_steps, training}, networks);
  } else {
    source_ = train::fresh_networks(network_, networks);
  }
}

std::unique_ptr<synth::ImageDecoder> MatchingMethod::decoder_for(
    const data::ImageDataset& dataset) const {
  return synth::make_decoder(options_.factor, options_.decode_type, dataset.preprocessing(),
                             dataset.shape());
}

void MatchingMethod::initialize(RunContext& run) {
  prepare(run);
  auto decoder = decoder_for(run.dataset);
  const Tensor start = initial_images(run.dataset, ipc_, options_, *decoder, rng_.child("init"));
  parametrization_ = std::make_unique<synth::Parametrization>(start, run.dataset.num_classes(),
                                                              std::move(decoder));
}

ClassPair MatchingMethod::sample_pair(const Rng& rng, std::int64_t c, const Tensor& decoded) const {
  const Tensor& members = dataset_->class_indices(c);
  Rng batch_rng = rng.child("real", c);
  const auto picks =
      batch_rng.sample(members.numel(), std::min(options_.batch_real, members.numel()));
  const Tensor real =
      dataset_->batch(data::Split::Train, members.index_select(0, at::tensor(picks, at::kLong)));
  const Tensor synthetic = options_.fyi ? synth::with_flips(decoded) : decoded;
  Rng draw_rng = rng.child("augment", c);
  const auto draw = augment::draw(strategy_, augment::Sharing::Siamese, real.size(0), real.size(2),
                                  real.size(3), draw_rng);
  return {c, augment::apply(strategy_, draw, real), augment::apply(strategy_, draw, synthetic)};
}

MatchingMethod::Gradient MatchingMethod::class_gradient(const nn::NetworkState& state,
                                                        const Rng& rng, std::int64_t first,
                                                        std::int64_t last) const {
  const at::AutoGradMode gradients(true);
  const Tensor leaf = parametrization_->stored()
                          .detach()
                          .slice(0, first * ipc_, last * ipc_)
                          .clone()
                          .requires_grad_();
  std::vector<ClassPair> pairs;
  for (std::int64_t c = first; c < last; ++c) {
    const std::int64_t row = (c - first) * ipc_;
    const Tensor decoded = parametrization_->decoder().decode(leaf.slice(0, row, row + ipc_));
    pairs.push_back(sample_pair(rng, c, decoded));
  }
  Loss loss = objective_->loss({*network_, state}, pairs);
  const Tensor gradient = torch::autograd::grad({loss.total}, {leaf})[0];
  return {gradient, loss.total.item<double>(), std::move(loss.parts)};
}

MatchingMethod::Gradient MatchingMethod::full_gradient(const nn::NetworkState& state,
                                                       const Rng& rng) const {
  const std::int64_t classes = dataset_->num_classes();
  if (!network_->per_sample(nn::Mode::Train)) return class_gradient(state, rng, 0, classes);
  std::vector<Gradient> terms(static_cast<std::size_t>(classes));
  parallel_tasks(classes, [&](std::int64_t c) {
    terms[std::size_t(c)] = class_gradient(state, rng, c, c + 1);
  });
  // Summed in class order, whatever thread ran which class.
  Gradient sum = std::move(terms[0]);
  Tensors gradients{sum.stored};
  for (std::size_t c = 1; c < terms.size(); ++c) {
    gradients.push_back(terms[c].stored);
    sum.loss += terms[c].loss;
    for (std::size_t i = 0; i < sum.parts.size(); ++i)
      sum.parts[i].second += terms[c].parts[i].second;
  }
  sum.stored = at::cat(gradients);
  return sum;
}

UpdateReport MatchingMethod::update(std::int64_t iteration) {
  const nn::NetworkState& state = source_->at(iteration);
  const Gradient gradient = full_gradient(state, rng_.child("iteration", iteration));
  optimizer_.step(parametrization_->stored().detach(), gradient.stored);
  UpdateReport report;
  const auto classes = double(dataset_->num_classes());
  report.loss = gradient.loss / classes;
  report.columns.emplace_back("gradient_norm", gradient.stored.norm().item<double>());
  for (const auto& [name, value] : gradient.parts)
    report.columns.emplace_back(name, value / classes);
  return report;
}

data::SyntheticSet MatchingMethod::snapshot() const {
  data::SyntheticSet set;
  set.images = parametrization_->stored().detach().clone();
  set.class_index = at::arange(dataset_->num_classes(), at::kLong).repeat_interleave(ipc_);
  set.labels = data::HardLabels{parametrization_->labels()};
  set.decoder = parametrization_->decoder().spec();
  return set;
}

void MatchingMethod::save_state(storage::StateWriter& out) const {
  out.tensor("stored", parametrization_->stored().detach());
  optimizer_.save_state(out);
  source_->save_state(out);
}

void MatchingMethod::load_state(RunContext& run, const storage::StateReader& in) {
  prepare(run);
  parametrization_ = std::make_unique<synth::Parametrization>(
      in.tensor("stored"), run.dataset.num_classes(), decoder_for(run.dataset));
  optimizer_.load_state(in);
  source_->load_state(in);
}

Work MatchingMethod::work(const RunContext& run) const {
  const auto network =
      nn::make_network(options_.net, run.dataset.shape(), run.dataset.num_classes());
  const auto classes = double(run.dataset.num_classes());
  const double decoded =
      double(run.ipc) *
      double(decoder_for(run.dataset)->images_per_stored(run.dataset.shape().height)) *
      (options_.fyi ? 2 : 1);
  const double forward = 2.0 * double(network->macs());
  Work work;
  // Synthetic images: forward and input gradient, about two forward passes' worth each.
  work.flops_per_iteration =
      classes * forward *
      (double(std::min(options_.batch_real, run.dataset.smallest_class())) + 2 * decoded);
  if (options_.networks == "trained") {
    work.flops_per_iteration += 3 * forward * double(options_.net_steps * options_.net_batch);
  }
  if (options_.networks == "pool") {
    work.setup_flops +=
        1.5 * forward * double(options_.pool_size * options_.pool_steps * options_.net_batch);
  }
  const bool needs_features =
      options_.init == "k-means" || options_.init == "k-center" || options_.init == "herding";
  if (needs_features && options_.features.features == "embedding") {
    const auto images = double(run.dataset.size(data::Split::Train));
    work.setup_flops += forward * images * (3 * double(options_.features.epochs) + 1);
  }
  return work;
}

}  // namespace retort::methods::matching
