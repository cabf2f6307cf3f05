#include "methods/matching/matching_method.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "methods/matching/features.h"
#include "methods/matching/initial_images.h"
#include "methods/matching/predicted_work.h"
#include "methods/matching/strategy.h"

namespace retort::methods::matching {

MatchingMethod::MatchingMethod(MatchingOptions options, std::unique_ptr<Objective> objective)
    : options_(std::move(options)),
      objective_(std::move(objective)),
      optimizer_(options_.image_optimizer, options_.lr_images, options_.image_momentum),
      real_halves_(options_.cache_mb * 1'000'000) {}

std::int64_t MatchingMethod::iterations() const {
  if (options_.iterations < 0) {
    throw Error("iterations -1 follow from the ipc: settle() fills them in, before create()");
  }
  return options_.iterations;
}

void MatchingMethod::check_options() const {
  options_.check_start();
  if (options_.clamp_every > 0 && options_.image_space != "pixels") {
    throw ConfigError(str("clamp-every ", options_.clamp_every,
                          " with image-space preprocessed: only pixels have the range [0,1]"));
  }
  const bool in_training = options_.networks == "trained" || options_.networks == "synthetic";
  if (in_training && options_.networks_per_iteration > 1) {
    throw ConfigError(str("networks-per-iteration ", options_.networks_per_iteration,
                          " with networks ", options_.networks,
                          ": one network is in training at a time; it needs fresh or pool"));
  }
  if (options_.cached_draws > 0 && options_.networks != "pool") {
    throw ConfigError(str("cached-draws ", options_.cached_draws, " with networks ",
                          options_.networks,
                          ": real gradients return only where networks do; it needs pool"));
  }
}

void MatchingMethod::prepare(RunContext& run) {
  options_.settle(run.ipc);
  check_options();
  dataset_ = &run.dataset;
  ipc_ = run.ipc;
  rng_ = run.rng;
  const bool mirror_changes_class = run.dataset.info().mirror_changes_class;
  strategy_ =
      make_strategy(options_.augmentation, options_.augmentation_style, mirror_changes_class);
  network_ = nn::make_network(options_.net, run.dataset.shape(), run.dataset.num_classes());
  const auto available = run.dataset.smallest_class();
  objective_->check(*network_);
  if (objective_->joint(*network_) && available < options_.batch_real) {
    throw ConfigError(str("batch-real ", options_.batch_real, " with the BatchNorm network ",
                          network_->name(),
                          ": every class needs that many images, the smallest has ", available));
  }
  if (std::min(options_.batch_real, available) < objective_->least_real()) {
    throw ConfigError(str("batch-real ", options_.batch_real, ": the loss compares ",
                          objective_->least_real(), " or more real images of every class; the ",
                          "smallest has ", available));
  }
  lr_ = options_.lr_images;
  if (options_.lr_reference_side > 0) {
    const double sides = double(run.dataset.shape().height) / double(options_.lr_reference_side);
    lr_ *= double(ipc_) / 10 * sides * sides;
  }
  optimizer_ = ImageOptimizer(options_.image_optimizer, lr_, options_.image_momentum,
                              run.dataset.num_classes());
  make_source(run);
}

void MatchingMethod::make_source(const RunContext& run) {
  const Rng networks = rng_.child("networks");
  const augment::Strategy augmentation =
      make_strategy(options_.net_augmentation, options_.augmentation_style,
                    run.dataset.info().mirror_changes_class);
  if (options_.networks == "synthetic") {
    source_ = train::synthetic_networks(network_,
                                        {.period = options_.net_period,
                                         .epochs = options_.net_epochs,
                                         .batch_size = options_.net_batch,
                                         .lr = options_.net_lr,
                                         .momentum = options_.net_momentum,
                                         .weight_decay = options_.net_weight_decay,
                                         .augmentation = augmentation,
                                         .mirrored = options_.fyi,
                                         .stop = run.stop},
                                        networks, run.dataset.device());
    return;
  }
  train::TrainedNetworksOptions training;
  training.period = options_.net_period;
  training.warmup_steps = options_.net_warmup;
  training.steps_between = options_.net_steps;
  training.batch_size = options_.net_batch;
  training.lr = options_.net_lr;
  training.momentum = options_.net_momentum;
  training.weight_decay = options_.net_weight_decay;
  training.cutmix_probability = options_.net_cutmix;
  training.stop = run.stop;
  training.augmentation = augmentation;
  if (options_.networks == "trained") {
    source_ = train::trained_networks(network_, run.dataset, training, networks);
  } else if (options_.networks == "pool") {
    source_ = train::network_pool(network_, run.dataset,
                                  {options_.pool_size, options_.pool_steps, training}, networks);
  } else {
    source_ = train::fresh_networks(network_, networks, run.dataset.device());
  }
}

void MatchingMethod::check(RunContext& run) { prepare(run); }

void MatchingMethod::initialize(RunContext& run) {
  prepare(run);
  auto decoder = options_.decoder_for(run.dataset);
  Tensor start =
      initial_images(run.dataset, ipc_, options_, *decoder, rng_.child("init"), run.stop);
  if (options_.image_space == "pixels") {
    // Kim et al. scale their noise into the range of pixels.
    start = options_.init == "noise" && options_.init_set.empty()
                ? (start / 4 + 0.5).clamp(0, 1)
                : run.dataset.preprocessing().invert(start);
  }
  parametrization_ = std::make_unique<synth::Parametrization>(
      start.to(run.dataset.device()), run.dataset.num_classes(), std::move(decoder));
  if (options_.image_ema > 0) mean_ = parametrization_->stored().detach().clone();
}

Tensor MatchingMethod::real_batch(std::int64_t c, std::int64_t count, Rng rng) const {
  const Tensor& members = dataset_->class_indices(c);
  const auto picks = rng.sample(members.numel(), std::min(count, members.numel()));
  return dataset_->batch(data::Split::Train, members.index_select(0, at::tensor(picks, at::kLong)));
}

Tensor MatchingMethod::stream_batch(std::int64_t c, std::int64_t position) const {
  const Tensor& members = dataset_->class_indices(c);
  const std::int64_t count = std::min(options_.batch_real, members.numel());
  const std::int64_t per_pass = members.numel() / count;
  Rng pass = rng_.child("real stream", c).child("pass", position / per_pass);
  const Tensor order = pass.permutation_tensor(members.numel());
  const Tensor picks = order.narrow(0, position % per_pass * count, count);
  return dataset_->batch(data::Split::Train, members.index_select(0, picks));
}

Tensor MatchingMethod::statistics_images(const Rng& rng) const {
  constexpr std::int64_t kPerClass = 16;
  Tensors images;
  for (std::int64_t c = 0; c < dataset_->num_classes(); ++c) {
    images.push_back(real_batch(c, kPerClass, rng.child("class", c)));
  }
  return at::cat(images);
}

Tensor MatchingMethod::preprocessed(const Tensor& stored) const {
  return options_.image_space == "pixels" ? dataset_->preprocessing().apply(stored) : stored;
}

data::LabelledImages MatchingMethod::decoded_set() const {
  const at::NoGradGuard no_grad;
  const Tensor images =
      parametrization_->decoder().decode(preprocessed(parametrization_->stored().detach()));
  return {images, data::HardLabels{parametrization_->labels()}};
}

ClassPair MatchingMethod::sample_pair(const nn::NetworkState& state, const Draws& draws,
                                      std::int64_t c, const Tensor& decoded) {
  const auto shape = dataset_->shape();
  Rng draw_rng = draws.real.child("augment", c);
  const auto draw =
      augment::draw(strategy_, augment::Sharing::Siamese, 1, shape.height, shape.width, draw_rng);
  Tensor synthetic = decoded;
  if (options_.max_decoded > 0 && decoded.size(0) > options_.max_decoded) {
    const auto rows = draws.rng.child("decoded", c).sample(decoded.size(0), options_.max_decoded);
    synthetic = decoded.index_select(0, at::tensor(rows, at::kLong).to(decoded.device()));
  }
  if (options_.fyi) synthetic = synth::with_flips(synthetic);
  const auto real = [&] {
    const Tensor batch = options_.real_batches == "stream"
                             ? stream_batch(c, draws.position)
                             : real_batch(c, options_.batch_real, draws.real.child("real", c));
    return augment::apply(strategy_, draw, batch);
  };
  ClassPair pair{c, {}, augment::apply(strategy_, draw, synthetic)};
  if (draws.kept) {
    pair.real_half = real_halves_.get({draws.kept->first, draws.kept->second, c}, [&] {
      return objective_->real_half({*network_, state}, c, real());
    });
  } else {
    pair.real = real();
  }
  return pair;
}

MatchingMethod::Gradient MatchingMethod::class_gradient(const nn::NetworkState& state,
                                                        const Draws& draws, std::int64_t first,
                                                        std::int64_t last) {
  const at::AutoGradMode gradients(true);
  const Tensor leaf = parametrization_->stored()
                          .detach()
                          .slice(0, first * ipc_, last * ipc_)
                          .clone()
                          .requires_grad_();
  const Tensor visible = preprocessed(leaf);
  std::vector<ClassPair> pairs;
  for (std::int64_t c = first; c < last; ++c) {
    const std::int64_t row = (c - first) * ipc_;
    const Tensor decoded = parametrization_->decoder().decode(visible.slice(0, row, row + ipc_));
    pairs.push_back(sample_pair(state, draws, c, decoded));
  }
  Loss loss = objective_->loss({*network_, state}, pairs);
  const Tensor gradient = torch::autograd::grad({loss.total}, {leaf})[0];
  return {gradient, loss.total.item<double>(), std::move(loss.parts)};
}

MatchingMethod::Gradient MatchingMethod::full_gradient(const nn::NetworkState& state,
                                                       const Draws& draws) {
  const std::int64_t classes = dataset_->num_classes();
  if (objective_->joint(*network_)) return class_gradient(state, draws, 0, classes);
  std::vector<Gradient> terms(static_cast<std::size_t>(classes));
  parallel_tasks(classes, [&](std::int64_t c) {
    terms[std::size_t(c)] = class_gradient(state, draws, c, c + 1);
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

MatchingMethod::Draws MatchingMethod::draws_for(std::int64_t iteration,
                                                std::int64_t network) const {
  const Rng rng = rng_.child("iteration", iteration);
  if (options_.cached_draws == 0) return {.rng = rng, .real = rng, .position = iteration};
  const std::int64_t per_iteration = options_.networks_per_iteration;
  const std::int64_t member = source_->member(iteration * per_iteration + network).value();
  const std::int64_t draw = rng.child("kept draw", network).integer(options_.cached_draws);
  return {.rng = rng,
          .real = rng_.child("kept", member).child("draw", draw),
          .position = member * options_.cached_draws + draw,
          .kept = std::pair(member, draw)};
}

double MatchingMethod::step_size(std::int64_t iteration) const {
  if (options_.lr_images_schedule == "constant") return lr_;
  const double done = double(iteration) / double(options_.iterations);
  return lr_ * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

MatchingMethod::Gradient MatchingMethod::network_gradient(nn::NetworkState& state,
                                                          const Draws& draws) {
  if (objective_->uses_running_statistics() && network_->has_batch_norm()) {
    refresh_statistics(*network_, state, statistics_images(draws.real.child("statistics")));
  }
  return full_gradient(state, draws);
}

UpdateReport MatchingMethod::update(std::int64_t iteration) {
  const std::int64_t networks = options_.networks_per_iteration;
  const auto state_of = [&](std::int64_t network) -> nn::NetworkState& {
    return source_->at(iteration * networks + network, [this] { return decoded_set(); });
  };
  // First: the one call that may be stopped, and this update must then not have begun.
  nn::NetworkState& state = state_of(0);
  const Tensor stored = parametrization_->stored().detach();
  if (options_.clamp_every > 0 && iteration % options_.clamp_every == 0) stored.clamp_(0, 1);
  optimizer_.set_lr(step_size(iteration));
  optimizer_.catch_up(stored);

  Gradient gradient = network_gradient(state, draws_for(iteration, 0));
  for (std::int64_t i = 1; i < networks; ++i) {
    const Gradient next = network_gradient(state_of(i), draws_for(iteration, i));
    gradient.stored.add_(next.stored);
    gradient.loss += next.loss;
    for (std::size_t p = 0; p < gradient.parts.size(); ++p)
      gradient.parts[p].second += next.parts[p].second;
  }
  if (networks > 1) gradient.stored.div_(double(networks));
  optimizer_.step(stored, gradient.stored);
  if (mean_.defined()) mean_.lerp_(stored, 1 - options_.image_ema);

  UpdateReport report;
  const double terms = double(dataset_->num_classes() * networks);
  report.loss = gradient.loss / terms;
  report.columns.emplace_back("gradient_norm", gradient.stored.norm().item<double>());
  for (const auto& [name, value] : gradient.parts) report.columns.emplace_back(name, value / terms);
  return report;
}

data::SyntheticSet MatchingMethod::snapshot() const {
  data::SyntheticSet set;
  const Tensor stored = mean_.defined() ? mean_ : parametrization_->stored().detach();
  set.images = preprocessed(stored).to(at::kCPU).clone();
  set.class_index = at::arange(dataset_->num_classes(), at::kLong).repeat_interleave(ipc_);
  set.labels = data::HardLabels{parametrization_->labels()};
  set.decoder = parametrization_->decoder().spec();
  return set;
}

void MatchingMethod::save_state(storage::StateWriter& out) const {
  out.tensor("stored", parametrization_->stored().detach());
  if (mean_.defined()) out.tensor("mean", mean_);
  optimizer_.save_state(out);
  source_->save_state(out);
}

void MatchingMethod::load_state(RunContext& run, const storage::StateReader& in) {
  prepare(run);
  parametrization_ = std::make_unique<synth::Parametrization>(
      in.tensor("stored").to(run.dataset.device()), run.dataset.num_classes(),
      options_.decoder_for(run.dataset));
  if (options_.image_ema > 0) mean_ = in.tensor("mean").to(run.dataset.device());
  optimizer_.load_state(in);
  source_->load_state(in);
}

Work MatchingMethod::work(const RunContext& run) const {
  MatchingOptions settled = options_;
  settled.settle(run.ipc);
  return predicted_work(settled, *objective_, run);
}

}  // namespace retort::methods::matching
