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

void MatchingMethod::check_options() const {
  if (options_.init == "mosaic" && options_.factor > 1) {
    throw ConfigError(str("init mosaic with factor ", options_.factor,
                          ": a mosaic is optimised as plain pixels and needs factor 1; with a "
                          "larger factor every other init packs real images already"));
  }
  if (options_.decode_type == "multi" && options_.factor == 1) {
    throw ConfigError(
        "decode-type multi with factor 1: it joins the factors from 1 up to it, so it needs factor "
        "2 or more");
  }
}

void MatchingMethod::prepare(RunContext& run) {
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
  train::TrainedNetworksOptions training;
  training.period = options_.net_period;
  training.warmup_steps = options_.net_warmup;
  training.steps_between = options_.net_steps;
  training.batch_size = options_.net_batch;
  training.lr = options_.net_lr;
  training.stop = run.stop;
  training.augmentation =
      make_strategy(options_.net_augmentation, options_.augmentation_style, mirror_changes_class);
  const Rng networks = rng_.child("networks");
  if (options_.networks == "trained") {
    source_ = train::trained_networks(network_, run.dataset, training, networks);
  } else if (options_.networks == "pool") {
    source_ = train::network_pool(network_, run.dataset,
                                  {options_.pool_size, options_.pool_steps, training}, networks);
  } else {
    source_ = train::fresh_networks(network_, networks, run.dataset.device());
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
  const Tensor start =
      initial_images(run.dataset, ipc_, options_, *decoder, rng_.child("init"), run.stop);
  parametrization_ = std::make_unique<synth::Parametrization>(
      start.to(run.dataset.device()), run.dataset.num_classes(), std::move(decoder));
}

Tensor MatchingMethod::real_batch(std::int64_t c, std::int64_t count, Rng rng) const {
  const Tensor& members = dataset_->class_indices(c);
  const auto picks = rng.sample(members.numel(), std::min(count, members.numel()));
  return dataset_->batch(data::Split::Train, members.index_select(0, at::tensor(picks, at::kLong)));
}

nn::NetworkState MatchingMethod::with_fresh_statistics(const nn::NetworkState& state,
                                                       const Rng& rng) const {
  constexpr std::int64_t kPerClass = 16;
  const at::NoGradGuard no_grad;
  Tensors images;
  for (std::int64_t c = 0; c < dataset_->num_classes(); ++c) {
    images.push_back(real_batch(c, kPerClass, rng.child("class", c)));
  }
  nn::NetworkState refreshed = state.detached_clone();
  network_->forward(refreshed, at::cat(images), {.mode = nn::Mode::Train, .logits = false});
  return refreshed;
}

ClassPair MatchingMethod::sample_pair(const Rng& rng, std::int64_t c, const Tensor& decoded) const {
  const Tensor real = real_batch(c, options_.batch_real, rng.child("real", c));
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
  if (objective_->joint(*network_)) return class_gradient(state, rng, 0, classes);
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
  const Rng rng = rng_.child("iteration", iteration);
  nn::NetworkState state = source_->at(iteration);
  if (objective_->uses_running_statistics() && network_->has_batch_norm()) {
    state = with_fresh_statistics(state, rng.child("statistics"));
  }
  const Gradient gradient = full_gradient(state, rng);
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
  set.images = parametrization_->stored().detach().to(at::kCPU).clone();
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
  parametrization_ =
      std::make_unique<synth::Parametrization>(in.tensor("stored").to(run.dataset.device()),
                                               run.dataset.num_classes(), decoder_for(run.dataset));
  optimizer_.load_state(in);
  source_->load_state(in);
}

Work MatchingMethod::work(const RunContext& run) const {
  const auto network =
      nn::make_network(options_.net, run.dataset.shape(), run.dataset.num_classes());
  const auto classes = double(run.dataset.num_classes());
  const auto real = double(std::min(options_.batch_real, run.dataset.smallest_class()));
  const double decoded = double(run.ipc) * double(decoder_for(run.dataset)->images_per_stored()) *
                         (options_.fyi ? 2 : 1);
  const LossCost cost = objective_->cost();
  Work work;
  work.per_iteration =
      forward_flops(*network, classes * real * cost.real, cost.real_pass) +
      forward_flops(*network, classes * decoded * cost.synthetic, cost.synthetic_pass);
  work.setup = feature_flops(run.dataset);
  // A network's training: forward, input and weight gradients.
  constexpr double kTraining = 3;
  if (options_.networks == "trained") {
    const double warmups = double(options_.net_warmup) / double(options_.net_period);
    work.per_iteration =
        work.per_iteration + forward_flops(*network, kTraining * double(options_.net_batch) *
                                                         (double(options_.net_steps) + warmups));
  }
  if (options_.networks == "pool") {
    // Steps spread evenly from none to all: half of them on average.
    work.setup = work.setup + forward_flops(*network, kTraining / 2 * double(options_.pool_size) *
                                                          double(options_.pool_steps) *
                                                          double(options_.net_batch));
  }
  const bool joint = objective_->joint(*network);
  const double at_once = joint ? classes : std::min(classes, double(thread_count()));
  const double kept = decoded * cost.synthetic / 2 + (joint ? real / 2 : 0);
  work.memory_bytes = pixel_bytes(run.dataset) + activation_bytes(*network, at_once * kept);
  return work;
}

Flops MatchingMethod::feature_flops(const data::ImageDataset& dataset) const {
  const bool needed =
      options_.init == "k-means" || options_.init == "k-center" || options_.init == "herding";
  if (!needed || options_.features.features != "embedding") return {};
  const auto network =
      nn::make_network(options_.features.net, dataset.shape(), dataset.num_classes());
  return forward_flops(*network, double(dataset.size(data::Split::Train)) *
                                     (3 * double(options_.features.epochs) + 1));
}

}  // namespace retort::methods::matching
