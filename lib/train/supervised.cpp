#include "lib/train/supervised.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <utility>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include "lib/core/device.h"
#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/train/chunks.h"
#include "lib/train/gradient_penalty.h"
#include "lib/train/image_lessons.h"

namespace retort::train {
namespace {

constexpr std::int64_t kForwardChunk = 64;

struct ChunkGradient {
  double loss_sum = 0;
  Tensor logits;
  Tensors gradients;
};

/// What a mini-batch descends, whole or in chunks.
struct Descent {
  const nn::Network& network;
  const nn::NetworkState& state;
  const StudentLoss& loss;
  std::int64_t batch_norm_group;
  std::int64_t batch;  ///< images of the mini-batch: gradients are of the mean over them

  ChunkGradient of(const Tensor& images, const Targets& targets) const {
    nn::NetworkState leaves{{}, state.buffers};
    leaves.parameters.reserve(state.parameters.size());
    for (const auto& p : state.parameters) leaves.parameters.push_back(p.detach().requires_grad_());

    const at::AutoGradMode gradients_on(true);
    const nn::ForwardOptions options{.mode = nn::Mode::Train, .batch_norm_group = batch_norm_group};
    const Tensor logits = network.forward(leaves, images, options).logits;
    ChunkGradient result;
    result.logits = logits.detach();
    LogitGradient found = student_loss(loss, result.logits, targets);
    result.loss_sum = found.loss;
    result.gradients =
        torch::autograd::grad({logits}, leaves.parameters, {found.gradient / double(batch)});
    return result;
  }
};

Targets on_device(const Targets& targets, at::Device device) {
  const auto moved = [&](const Tensor& x) { return x.defined() ? x.detach().to(device) : x; };
  return {moved(targets.values), moved(targets.classes), moved(targets.earlier)};
}

void check_targets(const Tensor& images, const Tensor& targets) {
  if (images.size(0) == 0 || targets.size(0) != images.size(0)) {
    throw ConfigError(str("a mini-batch needs one target per image and at least one image, found ",
                          images.size(0), " images and ", targets.size(0), " targets"));
  }
}

const TrainingData& checked(const TrainingData& data) {
  if (data.size() >= 1) return data;
  throw ConfigError("there is nothing to train on: the data holds 0 images");
}

/// Penalties know one loss and one way to normalise.
void check_penalties(const TrainOptions& options) {
  if (options.penalty == 0 && !options.curvature) return;
  if (options.loss.kind == StudentLoss::Kind::CrossEntropy && options.batch_norm_group == 0) return;
  throw ConfigError(
      "penalties of gradient and curvature go with cross-entropy, and BatchNorm over the whole "
      "mini-batch");
}

void check_options(const TrainOptions& options) {
  if (options.epochs < 0 || options.batch_size < 1) {
    throw ConfigError(str("training needs epochs >= 0 and a batch size >= 1, found ",
                          options.epochs, " and ", options.batch_size));
  }
  if (options.warmup_epochs < 0 || options.warmup_epochs > options.epochs) {
    throw ConfigError(str("training of ", options.epochs,
                          " epochs: expected 0 .. as many of them to warm up, found ",
                          options.warmup_epochs));
  }
  if (options.smoothing <= 0) {
    throw ConfigError(
        str("a cosine schedule needs a smoothing above 0, found ", options.smoothing));
  }
  check_loss(options.loss);
  check_penalties(options);
  const bool sgd = options.method == TrainOptions::Method::Sgd;
  if (sgd && options.decays != TrainOptions::Decays::All) {
    throw ConfigError("weight decay of weights alone needs Adam or AdamW");
  }
  for (const auto& drop : options.drops) {
    if (drop.momentum && !sgd) throw ConfigError("a drop that changes the momentum needs SGD");
  }
}

/// Which parameters are weights: by PyTorch's names a norm's are too, but of rank 1.
std::vector<bool> weights_of(const nn::Network& network) {
  std::vector<bool> weights;
  for (const auto& parameter : network.parameters()) {
    weights.push_back(parameter.shape.size() > 1 && parameter.name.ends_with("weight"));
  }
  return weights;
}

AdamOptions adam_options(const TrainOptions& options, const nn::Network& network) {
  AdamOptions adam{.beta1 = options.beta1,
                   .beta2 = options.beta2,
                   .weight_decay = options.weight_decay,
                   .decoupled = options.method == TrainOptions::Method::AdamW};
  if (options.decays == TrainOptions::Decays::Weights) adam.decays = weights_of(network);
  return adam;
}

/// What one step descends, at some parameters: loss_factor times the loss of the lesson, the
/// curvature penalty of its images, and the gradient penalty of its plain ones.
struct Objective {
  const nn::Network& network;
  const TrainOptions& options;
  const Lesson& lesson;

  struct Value {
    BatchGradient loss;  ///< with the gradients of the whole
    double penalty = 0;
  };

  Value at(const nn::NetworkState& state) const {
    Value value{batch_gradient(network, state, lesson.images, lesson.targets, options.loss,
                               options.batch_norm_group),
                0};
    Tensors& gradients = value.loss.gradients;
    if (options.loss_factor != 1) {
      for (Tensor& g : gradients) g.mul_(options.loss_factor);
    }
    const auto add = [&](double found, const Tensors& more, double weight) {
      value.penalty += found;
      for (std::size_t i = 0; i < gradients.size(); ++i) gradients[i].add_(more[i], weight);
    };
    if (options.penalty != 0) {
      const GradientPenalty penalty = gradient_penalty(network, state, lesson.plain);
      add(penalty.value, penalty.gradients, options.penalty);
    }
    if (options.curvature) {
      const auto penalty = curvature_penalty(network, state, lesson.images, lesson.targets.values,
                                             *options.curvature);
      add(penalty.value, penalty.gradients, 1);
    }
    return value;
  }
};

/// The value at `state`, with the direction of GSAM for its gradients.
Objective::Value sharpness_aware(const Objective& objective, const nn::NetworkState& state,
                                 const Gsam& gsam) {
  Objective::Value value = objective.at(state);
  Tensors& gradients = value.loss.gradients;
  // Elsewhere, so that the parameters themselves need no way back; the statistics of BatchNorm see
  // one pass per step.
  nn::NetworkState perturbed = state.detached_clone();
  const Tensors offsets = gsam_perturbation(state.parameters, gradients, gsam);
  for (std::size_t i = 0; i < offsets.size(); ++i) perturbed.parameters[i].add_(offsets[i]);
  const Objective::Value second = objective.at(perturbed);
  gradients = gsam_direction(gradients, second.loss.gradients, gsam.alpha);
  return value;
}

void expect_finite(const Objective::Value& value, const nn::Network& network, double lr) {
  for (const auto& [name, found] :
       {std::pair("loss", value.loss.loss), std::pair("penalty", value.penalty)}) {
    if (std::isfinite(found)) continue;
    throw NumericalError(str("the training ", name, " of ", network.name(), " became ", found,
                             " at step size ", lr, "; are the images finite, is it too large?"));
  }
}

}  // namespace

TensorData::TensorData(data::LabelledImages all) : all_(std::move(all)) {
  const std::int64_t labels = data::hard_classes(all_.labels).size(0);
  if (all_.images.size(0) != labels) {
    throw ConfigError(str("training data: expected one label per image, found ",
                          all_.images.size(0), " images and ", labels, " labels"));
  }
}

std::int64_t TensorData::size() const { return all_.images.size(0); }

data::LabelledImages TensorData::batch(const Tensor& indices) const {
  return {all_.images.index_select(0, indices.to(all_.images.device())),
          select_labels(all_.labels, indices)};
}

DatasetData::DatasetData(const data::ImageDataset& dataset, data::Split split)
    : dataset_(dataset), split_(split) {}

std::int64_t DatasetData::size() const { return dataset_.size(split_); }

data::LabelledImages DatasetData::batch(const Tensor& indices) const {
  return {dataset_.batch(split_, indices),
          data::HardLabels{dataset_.labels(split_).index_select(0, indices)}};
}

TrainOptions dc_schedule(TrainOptions options, std::int64_t nominal_epochs) {
  options.epochs = nominal_epochs + 1;
  options.drops = {{.after_epoch = nominal_epochs / 2 + 1, .factor = 0.1, .reset_optimizer = true}};
  return options;
}

Tensor target_probabilities(const data::Labels& labels, std::int64_t num_classes,
                            at::ScalarType dtype) {
  if (const auto* soft = std::get_if<data::SoftLabels>(&labels)) {
    if (soft->values.dim() != 2 || soft->values.size(1) != num_classes) {
      throw ConfigError(str("soft labels: expected ", num_classes,
                            " values per image, found shape ", shape_text(soft->values)));
    }
    const Tensor values = soft->values.detach().to(dtype);
    return soft->kind == data::SoftLabels::Kind::Logit ? values.softmax(1) : values;
  }
  const Tensor& classes = std::get<data::HardLabels>(labels).classes;
  Tensor one_hot = at::zeros({classes.size(0), num_classes}, dtype);
  if (classes.numel() == 0) return one_hot;
  const auto highest = classes.max().item<std::int64_t>();
  if (highest >= num_classes || classes.min().item<std::int64_t>() < 0) {
    throw ConfigError(str("labels: expected classes 0 .. ", num_classes - 1, ", found ", highest,
                          " as the highest and ", classes.min().item<std::int64_t>(),
                          " as the lowest"));
  }
  return one_hot.scatter_(1, classes.unsqueeze(1), 1);
}

data::Labels select_labels(const data::Labels& labels, const Tensor& indices) {
  if (const auto* soft = std::get_if<data::SoftLabels>(&labels)) {
    return data::SoftLabels{soft->classes.index_select(0, indices),
                            soft->values.detach().index_select(0, indices), soft->kind,
                            soft->learned};
  }
  return data::HardLabels{std::get<data::HardLabels>(labels).classes.index_select(0, indices)};
}

BatchGradient batch_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images, const data::Labels& labels) {
  const auto dtype = state.parameters.front().scalar_type();
  return batch_gradient(network, state, images,
                        target_probabilities(labels, network.num_classes(), dtype));
}

BatchGradient batch_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images, const Tensor& targets) {
  return batch_gradient(network, state, images, {targets, {}}, {}, 0);
}

BatchGradient batch_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images_in, const Targets& targets_in,
                             const StudentLoss& loss, std::int64_t batch_norm_group) {
  check_targets(images_in, targets_in.values);
  const Tensor images = images_in.detach();  // nobody reads a gradient of the images or targets
  const Targets targets = on_device(targets_in, images.device());
  const std::int64_t n = images.size(0);
  const Descent descent{network, state, loss, network.has_batch_norm() ? batch_norm_group : 0, n};
  const std::int64_t chunks = chunks_of(network, images);
  if (chunks == 0) {
    auto whole = descent.of(images, targets);
    return {whole.loss_sum / double(n), whole.logits, std::move(whole.gradients)};
  }
  std::vector<double> losses(static_cast<std::size_t>(chunks));
  Tensors logits(static_cast<std::size_t>(chunks));
  Tensors gradients = sum_over_chunks(n, chunks, [&](const Chunk& chunk) {
    auto part = descent.of(images.narrow(0, chunk.begin, chunk.count),
                           targets.rows(chunk.begin, chunk.count));
    losses[std::size_t(chunk.number)] = part.loss_sum;
    logits[std::size_t(chunk.number)] = std::move(part.logits);
    return std::move(part.gradients);
  });
  double loss_sum = 0;
  for (const double part : losses) loss_sum += part;
  return {loss_sum / double(n), chunks == 1 ? logits[0] : at::cat(logits), std::move(gradients)};
}

double lr_factor(const TrainOptions& options, std::int64_t epoch) {
  using Schedule = TrainOptions::Schedule;
  constexpr double kWarmupStart = 0.01;
  double factor = 1;
  for (const auto& drop : options.drops) {
    if (drop.after_epoch < epoch) factor *= drop.factor;
  }
  const std::int64_t warmup = options.warmup_epochs;
  if (epoch < warmup) {
    return factor * (kWarmupStart + (1 - kWarmupStart) * double(epoch) / double(warmup));
  }
  const double done = double(epoch - warmup) / double(options.epochs - warmup);
  if (options.schedule == Schedule::Cosine) {
    return factor * 0.5 * (1 + std::cos(std::numbers::pi * done / options.smoothing));
  }
  return options.schedule == Schedule::Linear ? factor * (1 - done) : factor;
}

StepReport train_step(const nn::Network& network, nn::NetworkState& state, Optimizer& optimizer,
                      double lr, const data::LabelledImages& batch, const TrainOptions& options,
                      const Rng& rng) {
  const at::NoGradGuard no_grad;
  std::optional<SingleThreaded> single;
  if (network.per_sample(nn::Mode::Train)) single.emplace();
  const Lesson lesson = image_lesson(batch, network.num_classes(), options, rng);
  return train_step(network, state, optimizer, lr, lesson, options);
}

StepReport train_step(const nn::Network& network, nn::NetworkState& state, Optimizer& optimizer,
                      double lr, const Lesson& lesson, const TrainOptions& options) {
  const at::NoGradGuard no_grad;
  std::optional<SingleThreaded> single;
  if (network.per_sample(nn::Mode::Train)) single.emplace();
  const Objective objective{network, options, lesson};
  const auto value =
      options.gsam ? sharpness_aware(objective, state, *options.gsam) : objective.at(state);
  expect_finite(value, network, lr);
  const BatchGradient& gradient = value.loss;
  optimizer.step(state.parameters, gradient.gradients, lr);
  const Tensor& classes = lesson.classes;
  const Tensor predicted = gradient.logits.slice(0, 0, classes.size(0)).argmax(1).to(at::kCPU);
  return {gradient.loss, predicted.eq(classes).sum().item<std::int64_t>(), value.penalty};
}

namespace {

std::int64_t train_through(Training& training, const nn::Network& network, nn::NetworkState& state,
                           const std::function<bool(const EpochReport&)>& after_epoch) {
  // For all epochs at once: changing LibTorch's threads is slower than an epoch of a tiny set.
  std::optional<SingleThreaded> single;
  if (network.per_sample(nn::Mode::Train)) single.emplace();
  while (!training.finished()) {
    const EpochReport report = training.epoch(state);
    if (after_epoch && !after_epoch(report)) break;
  }
  return training.steps_done();
}

}  // namespace

std::int64_t train(const nn::Network& network, nn::NetworkState& state, const TrainingData& data,
                   const TrainOptions& options, const Rng& rng,
                   const std::function<bool(const EpochReport&)>& after_epoch) {
  Training training(network, data, options, rng);
  return train_through(training, network, state, after_epoch);
}

std::int64_t train(const nn::Network& network, nn::NetworkState& state, const Lessons& lessons,
                   const TrainOptions& options, const Rng& rng,
                   const std::function<bool(const EpochReport&)>& after_epoch) {
  Training training(network, lessons, options, rng);
  return train_through(training, network, state, after_epoch);
}

Training::Training(const nn::Network& network, const TrainingData& data, TrainOptions options,
                   Rng rng)
    : Training(network,
               std::make_unique<ImageLessons>(checked(data), network.num_classes(), options),
               nullptr, options, rng) {}

Training::Training(const nn::Network& network, const Lessons& lessons, TrainOptions options,
                   Rng rng)
    : Training(network, nullptr, &lessons, std::move(options), rng) {}

Training::Training(const nn::Network& network, std::unique_ptr<const Lessons> own,
                   const Lessons* lessons, TrainOptions options, Rng rng)
    : network_(network),
      own_(std::move(own)),
      lessons_(own_ != nullptr ? *own_ : *lessons),
      options_(std::move(options)),
      rng_(rng) {
  check_options(options_);
  if (options_.method == TrainOptions::Method::Sgd) {
    auto sgd = std::make_unique<Sgd>(options_.momentum, options_.weight_decay);
    sgd_ = sgd.get();
    optimizer_ = std::move(sgd);
  } else {
    optimizer_ = std::make_unique<Adam>(adam_options(options_, network_));
  }
}

double Training::momentum() const {
  double momentum = options_.momentum;
  for (const auto& drop : options_.drops) {
    if (drop.after_epoch < epoch_) momentum = drop.momentum.value_or(momentum);
  }
  return momentum;
}

TrainOptions Training::options_of_epoch() const {
  TrainOptions options = options_;
  const auto epoch = std::size_t(epoch_);
  if (epoch < options_.first_loss_factors.size()) {
    options.loss_factor = options_.first_loss_factors[epoch];
  }
  return options;
}

StepReport Training::step(nn::NetworkState& state, const TrainOptions& options, double lr,
                          const Lessons::Epoch& lessons) {
  const at::NoGradGuard no_grad;
  leave_if_requested(options.stop, "training");
  return with_context(str("epoch ", epoch_, ", step ", step_), [&] {
    const Lesson lesson = lessons(step_);
    const auto report = train_step(network_, state, *optimizer_, lr, lesson, options);
    const std::int64_t count = lesson.classes.size(0);
    loss_sum_ += report.loss * double(count);
    penalty_sum_ += report.penalty * double(count);
    correct_ += report.correct;
    seen_ += count;
    ++step_;
    return report;
  });
}

EpochReport Training::epoch(nn::NetworkState& state,
                            const std::function<void(const StepReport&)>& after_step) {
  // BatchNorm networks are not cut into tasks, so they use LibTorch's own threads instead.
  std::optional<SingleThreaded> single;
  if (network_.per_sample(nn::Mode::Train)) single.emplace();
  const TrainOptions options = options_of_epoch();
  const double step_size = options.lr * lr_factor(options, epoch_);
  if (sgd_ != nullptr) sgd_->set_momentum(momentum());
  const Lessons::Epoch lessons = lessons_.epoch(epoch_, rng_.child("epoch", epoch_));
  while (step_ < steps_per_epoch()) {
    const StepReport report = step(state, options, step_size, lessons);
    if (after_step) after_step(report);
  }
  const auto seen = double(seen_);
  const EpochReport report{epoch_, step_size, loss_sum_ / seen, double(correct_) / seen,
                           penalty_sum_ / seen};
  for (const auto& drop : options.drops) {
    if (drop.after_epoch == epoch_ && drop.reset_optimizer) optimizer_->reset();
  }
  ++epoch_;
  step_ = 0;
  loss_sum_ = penalty_sum_ = 0;
  correct_ = seen_ = 0;
  return report;
}

void Training::save_state(storage::StateWriter& out) const {
  out.integer("training/epoch", epoch_);
  out.integer("training/step", step_);
  out.integer("training/correct", correct_);
  out.integer("training/seen", seen_);
  out.number("training/loss", loss_sum_);
  out.number("training/penalty", penalty_sum_);
  optimizer_->save_state(out, "training/");
}

void Training::load_state(const storage::StateReader& in, at::Device device) {
  epoch_ = in.integer("training/epoch");
  step_ = in.integer("training/step");
  correct_ = in.integer("training/correct");
  // States of earlier programs do without: all steps of an epoch but its last are full.
  seen_ = in.has("training/seen") ? in.integer("training/seen") : step_ * options_.batch_size;
  loss_sum_ = in.number("training/loss");
  penalty_sum_ = in.number("training/penalty");
  optimizer_->load_state(in, "training/", device);
}

Tensor embed(const nn::Network& network, const nn::NetworkState& state,
             const data::ImageDataset& dataset, data::Split split, const Tensor& indices) {
  const at::NoGradGuard no_grad;
  const std::int64_t n = indices.size(0);
  if (n == 0) throw ConfigError("embed: expected at least one image, found none");
  const std::int64_t chunks = (n + kForwardChunk - 1) / kForwardChunk;
  Tensors parts(static_cast<std::size_t>(chunks));
  parallel_tasks(chunks, [&](std::int64_t chunk) {
    const Tensor rows = indices.narrow(0, chunk * kForwardChunk,
                                       std::min(kForwardChunk, n - chunk * kForwardChunk));
    const auto images = dataset.batch(split, rows);
    parts[std::size_t(chunk)] =
        network.forward(state, images, {.logits = false}).embedding.to(at::kCPU);
  });
  return at::cat(parts);
}

}  // namespace retort::train
