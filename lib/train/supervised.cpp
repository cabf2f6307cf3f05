#include "lib/train/supervised.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/kernels/device_steps.h"
#include "lib/train/cutmix.h"

namespace retort::train {
namespace {

// ConvNet-3, images per second forward and backward on one thread: chunks of 32 are within a tenth
// of the best size, both with the fused kernels (which like more) and with LibTorch's (fewer).
constexpr std::int64_t kGradientChunk = 32;
constexpr std::int64_t kForwardChunk = 64;
// Smaller chunks than this cost a single network more than a second thread brings.
constexpr std::int64_t kSmallestChunk = 12;

/// LibTorch on one thread while in scope: our own tasks then have the cores to themselves, and
/// reductions do not depend on the number of threads.
class SingleThreaded {
 public:
  SingleThreaded() : saved_(at::get_num_threads()) {
    thread_count();  // its first call fixes it, and from here on LibTorch says 1
    if (saved_ != 1) at::set_num_threads(1);
  }
  ~SingleThreaded() {
    if (saved_ != 1) at::set_num_threads(saved_);
  }
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  int saved_;
};

/// Adds up gradients of chunks in the order of the chunks, whichever is finished first.
class OrderedSum {
 public:
  void add(std::int64_t chunk, Tensors gradients) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(chunk, std::move(gradients));
    for (auto it = waiting_.find(next_); it != waiting_.end(); it = waiting_.find(++next_)) {
      if (total_.empty()) {
        total_ = std::move(it->second);
      } else {
        for (std::size_t i = 0; i < total_.size(); ++i) total_[i].add_(it->second[i]);
      }
      waiting_.erase(it);
    }
  }
  Tensors take() { return std::move(total_); }

 private:
  std::mutex mutex_;
  std::map<std::int64_t, Tensors> waiting_;
  std::int64_t next_ = 0;
  Tensors total_;
};

struct ChunkGradient {
  double loss_sum = 0;
  Tensor logits;
  Tensors gradients;
};

/// Of the cross-entropy summed over the chunk and divided by `batch`.
ChunkGradient chunk_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images, const Tensor& targets, std::int64_t batch) {
  nn::NetworkState leaves{{}, state.buffers};
  leaves.parameters.reserve(state.parameters.size());
  for (const auto& p : state.parameters) leaves.parameters.push_back(p.detach().requires_grad_());

  const at::AutoGradMode gradients_on(true);
  const Tensor logits = network.forward(leaves, images, {.mode = nn::Mode::Train}).logits;
  ChunkGradient result;
  result.logits = logits.detach();
  // d loss / d logits in closed form: softmax scaled by the target's sum (1 for distributions).
  const Tensor log_p = result.logits.log_softmax(1);
  result.loss_sum = -(targets * log_p).sum().item<double>();
  const Tensor upstream = (log_p.exp() * targets.sum(1, true) - targets) / double(batch);
  result.gradients = torch::autograd::grad({logits}, leaves.parameters, {upstream});
  return result;
}

void check_targets(const Tensor& images, const Tensor& targets) {
  if (images.size(0) == 0 || targets.size(0) != images.size(0)) {
    throw ConfigError(str("a mini-batch needs one target per image and at least one image, found ",
                          images.size(0), " images and ", targets.size(0), " targets"));
  }
}

void check_options(const TrainOptions& options, const TrainingData& data) {
  if (data.size() < 1) throw ConfigError("there is nothing to train on: the data holds 0 images");
  if (options.epochs < 0 || options.batch_size < 1) {
    throw ConfigError(str("training needs epochs >= 0 and a batch size >= 1, found ",
                          options.epochs, " and ", options.batch_size));
  }
}

struct EpochPosition {
  std::int64_t epoch = 0;
  double lr = 0;
};

EpochReport run_epoch(const nn::Network& network, nn::NetworkState& state, Sgd& sgd,
                      const TrainingData& data, const TrainOptions& options, const Rng& rng,
                      EpochPosition position) {
  const std::int64_t n = data.size();
  const Tensor order =
      options.shuffle ? rng.child("order").permutation_tensor(n) : at::arange(n, at::kLong);
  double loss_sum = 0;
  std::int64_t correct = 0;
  for (std::int64_t begin = 0, step = 0; begin < n; begin += options.batch_size, ++step) {
    leave_if_requested(options.stop, "training");
    const std::int64_t count = std::min(options.batch_size, n - begin);
    const auto batch = data.batch(order.narrow(0, begin, count));
    const auto report = with_context(str("epoch ", position.epoch, ", step ", step), [&] {
      return train_step(network, state, sgd, position.lr, batch, options, rng.child("step", step));
    });
    loss_sum += report.loss * double(count);
    correct += report.correct;
  }
  return {position.epoch, position.lr, loss_sum / double(n), double(correct) / double(n)};
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

void Sgd::step(Tensors& parameters, const Tensors& gradients, double lr) {
  const at::NoGradGuard no_grad;
  const bool first = velocity_.empty();
  if (first && momentum_ != 0) velocity_.resize(parameters.size());
  Tensor none;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor& w = parameters[i];
    const Tensor& g = gradients[i];
    Tensor& velocity = momentum_ != 0 ? velocity_[i] : none;
    if (kernels::device_sgd_step(w, velocity, g, {lr, momentum_, weight_decay_})) continue;
    if (momentum_ == 0) {
      w.mul_(1 - lr * weight_decay_).sub_(g, lr);
      continue;
    }
    if (first) {
      velocity = at::add(g, w, weight_decay_);
    } else {
      velocity.mul_(momentum_).add_(g).add_(w, weight_decay_);
    }
    w.sub_(velocity, lr);
  }
}

std::int64_t gradient_chunks(std::int64_t images) {
  const std::int64_t needed = (images + kGradientChunk - 1) / kGradientChunk;
  const std::int64_t shared = std::min<std::int64_t>(2, images / kSmallestChunk);
  const std::int64_t chunks = std::max({std::int64_t{1}, needed, shared});
  return chunks == 1 ? 1
                     : (chunks + 1) / 2 * 2;  // even: most machines have an even number of cores
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
                             const Tensor& images_in, const Tensor& targets_in) {
  check_targets(images_in, targets_in);
  const Tensor images = images_in.detach();  // nobody reads a gradient of the images or targets
  const Tensor targets = targets_in.detach().to(images.device());
  const std::int64_t n = images.size(0);
  if (!network.per_sample(nn::Mode::Train)) {
    auto whole = chunk_gradient(network, state, images, targets, n);
    return {whole.loss_sum / double(n), whole.logits, std::move(whole.gradients)};
  }
  // A device wants the whole batch at once, and its additions are not in a fixed order anyway.
  const std::int64_t chunks = images.is_cpu() ? gradient_chunks(n) : 1;
  std::vector<double> losses(static_cast<std::size_t>(chunks));
  Tensors logits(static_cast<std::size_t>(chunks));
  OrderedSum sum;
  parallel_tasks(chunks, [&](std::int64_t chunk) {
    // Chunks of nearly equal size share the threads better than full ones and a remainder.
    const std::int64_t begin = n * chunk / chunks;
    const std::int64_t count = n * (chunk + 1) / chunks - begin;
    auto part = chunk_gradient(network, state, images.narrow(0, begin, count),
                               targets.narrow(0, begin, count), n);
    losses[std::size_t(chunk)] = part.loss_sum;
    logits[std::size_t(chunk)] = std::move(part.logits);
    sum.add(chunk, std::move(part.gradients));
  });
  double loss_sum = 0;
  for (const double loss : losses) loss_sum += loss;
  return {loss_sum / double(n), chunks == 1 ? logits[0] : at::cat(logits), sum.take()};
}

StepReport train_step(const nn::Network& network, nn::NetworkState& state, Sgd& sgd, double lr,
                      const data::LabelledImages& batch, const TrainOptions& options,
                      const Rng& rng) {
  const at::NoGradGuard no_grad;
  std::optional<SingleThreaded> single;
  if (network.per_sample(nn::Mode::Train)) single.emplace();
  Tensor images = batch.images;
  Tensor targets = target_probabilities(batch.labels, network.num_classes(),
                                        state.parameters.front().scalar_type());
  if (options.mirrored) {
    images = at::cat({images, images.flip(3)});
    targets = at::cat({targets, targets});
  }
  if (!options.augmentation.operations.empty()) {
    Rng stream = rng.child("augment");
    images = augment::augment_batch(options.augmentation, images, stream);
  }
  Rng mixing = rng.child("cutmix");
  if (options.cutmix_probability > 0 && mixing.uniform() < options.cutmix_probability) {
    const CutMix mix = draw_cutmix(images.size(0), images.size(2), images.size(3), mixing);
    images = mix_images(mix, images);
    targets = mix_targets(mix, targets);
  }
  const auto gradient = batch_gradient(network, state, images, targets);
  if (!std::isfinite(gradient.loss)) {
    throw NumericalError(str("the training loss of ", network.name(), " became ", gradient.loss,
                             " at step size ", lr, "; are the images finite, is it too large?"));
  }
  sgd.step(state.parameters, gradient.gradients, lr);
  const Tensor classes = data::hard_classes(batch.labels);
  const Tensor predicted = gradient.logits.slice(0, 0, classes.size(0)).argmax(1).to(at::kCPU);
  return {gradient.loss, predicted.eq(classes).sum().item<std::int64_t>()};
}

std::int64_t train(const nn::Network& network, nn::NetworkState& state, const TrainingData& data,
                   const TrainOptions& options, const Rng& rng,
                   const std::function<bool(const EpochReport&)>& after_epoch) {
  check_options(options, data);
  // BatchNorm networks are not cut into tasks, so they use LibTorch's own threads instead.
  std::optional<SingleThreaded> single;
  if (network.per_sample(nn::Mode::Train)) single.emplace();

  const std::int64_t steps_per_epoch = (data.size() + options.batch_size - 1) / options.batch_size;
  Sgd sgd(options.momentum, options.weight_decay);
  double lr = options.lr;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const auto report =
        run_epoch(network, state, sgd, data, options, rng.child("epoch", epoch), {epoch, lr});
    for (const auto& drop : options.drops) {
      if (drop.after_epoch != epoch) continue;
      lr *= drop.factor;
      if (drop.reset_optimizer) sgd.reset();
      if (drop.momentum) sgd.set_momentum(*drop.momentum);
    }
    if (after_epoch && !after_epoch(report)) return (epoch + 1) * steps_per_epoch;
  }
  return options.epochs * steps_per_epoch;
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
