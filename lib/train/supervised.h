#pragma once
// The one supervised training loop of the project: evaluation networks, pools, teachers, experts.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"
#include "lib/storage/state_file.h"
#include "lib/train/curvature.h"
#include "lib/train/gsam.h"
#include "lib/train/lessons.h"
#include "lib/train/optimizer.h"
#include "lib/train/student_loss.h"

namespace retort::train {

/// What a network is trained on: a condensed set in memory, or a split of a dataset.
class TrainingData {
 public:
  virtual ~TrainingData() = default;
  virtual std::int64_t size() const = 0;
  /// @param indices int64 [n]  @return images [n,C,H,W] preprocessed, on the device that trains;
  ///        labels for those rows, on the CPU
  virtual data::LabelledImages batch(const Tensor& indices) const = 0;
};

class TensorData : public TrainingData {
 public:
  explicit TensorData(data::LabelledImages all);
  std::int64_t size() const override;
  data::LabelledImages batch(const Tensor& indices) const override;

 private:
  data::LabelledImages all_;
};

class DatasetData : public TrainingData {
 public:
  DatasetData(const data::ImageDataset& dataset, data::Split split);
  at::Device device() const { return dataset_.device(); }
  std::int64_t size() const override;
  data::LabelledImages batch(const Tensor& indices) const override;

 private:
  const data::ImageDataset& dataset_;
  data::Split split_;
};

/// After epoch `after_epoch` (counted from 0) the step size is multiplied by `factor`.
struct LrDrop {
  std::int64_t after_epoch = 0;
  double factor = 0.1;
  bool reset_optimizer = false;  ///< the DC family builds a new optimiser: velocity starts at zero
  std::optional<double> momentum = {};  ///< from there on, if it changes
};

struct TrainOptions {
  std::int64_t epochs = 1;  ///< passes over the data, exactly
  double lr = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  enum class Decays {
    All,     ///< parameters
    Weights  ///< of convolutions and linear layers alone, neither biases nor norms; not Sgd
  } decays = Decays::All;
  enum class Method { Sgd, Adam, AdamW } method = Method::Sgd;
  double beta1 = 0.9;  ///< Adam, AdamW
  double beta2 = 0.999;
  std::vector<LrDrop> drops = {};
  /// What multiplies `lr` in epoch e of E besides: nothing; (1 + cos(pi e / (E smoothing))) / 2
  /// (the decoupled methods: 1 ends at 0, 2 at one half); 1 - e/E.
  enum class Schedule { Constant, Cosine, Linear } schedule = Schedule::Constant;
  double smoothing = 1;  ///< Cosine
  /// Epochs in which the factor grows evenly from 0.01 towards 1 before the schedule begins, over
  /// the epochs that are left (PyTorch's LinearLR).
  std::int64_t warmup_epochs = 0;
  std::int64_t batch_size = 256;  ///< the last partial batch is used
  bool shuffle = true;
  bool mirrored = false;  ///< a mini-batch gets its mirror images, before augmentation (FYI)
  augment::Strategy augmentation = {};  ///< one draw per mini-batch, parameters per sample
  double cutmix_probability = 0;        ///< per mini-batch; Beta(1,1), one box, label-mixed loss
  StudentLoss loss = {};                ///< for lessons of probabilities the cross-entropy
  /// g > 0: BatchNorm sees every g consecutive images of a mini-batch for themselves, the last
  /// group may be smaller; the loss remains the mean over the mini-batch. 0: all of it at once.
  std::int64_t batch_norm_group = 0;
  double loss_factor = 1;                       ///< what is descended is so many times the loss
  std::vector<double> first_loss_factors = {};  ///< of epoch 0, 1, ... in place of `loss_factor`
  /// So many times the gradient penalty of the images as they were before augmentation is added
  /// (lib/train/gradient_penalty.h).
  double penalty = 0;
  std::optional<Curvature> curvature = {};  ///< this penalty of the augmented images is added
  std::optional<Gsam> gsam = {};            ///< steps take gsam_direction: two gradients each
  const StopFlag* stop = nullptr;           ///< polled before every step of an epoch
};

/// E nominal epochs of the DC family: E+1 epochs; after epoch E/2+1 the step size drops to a tenth
/// and the optimiser is rebuilt (VICO-UoE/DatasetCondensation, evaluate_synset).
TrainOptions dc_schedule(TrainOptions options, std::int64_t nominal_epochs);

struct EpochReport {
  std::int64_t epoch = 0;
  double lr = 0;
  double loss = 0;      ///< mean over samples, each before the step that used it
  double accuracy = 0;  ///< fraction, on the augmented training images
  double penalty = 0;   ///< mean gradient and curvature penalty over samples, if there is one
};

/// Trains `state` in place. Every epoch draws its order and augmentation from children of `rng`
/// keyed by the epoch. Stops early when `after_epoch` returns false. For networks without BatchNorm
/// the result does not depend on the number of threads (see batch_gradient).
/// @return optimiser steps made
/// @throws NumericalError when the loss is not finite; Interrupted when `options.stop` was
/// requested
std::int64_t train(const nn::Network& network, nn::NetworkState& state, const TrainingData& data,
                   const TrainOptions& options, const Rng& rng,
                   const std::function<bool(const EpochReport&)>& after_epoch = {});

struct StepReport {
  double loss = 0;           ///< mean over the mini-batch, before the step
  std::int64_t correct = 0;  ///< augmented images, without mirrored ones, given their own class
  double penalty = 0;        ///< gradient and curvature penalty, before the step
};

/// The same on lessons.
std::int64_t train(const nn::Network& network, nn::NetworkState& state, const Lessons& lessons,
                   const TrainOptions& options, const Rng& rng,
                   const std::function<bool(const EpochReport&)>& after_epoch = {});

/// What multiplies the step size in an epoch, drops included.
double lr_factor(const TrainOptions& options, std::int64_t epoch);

/// One mini-batch as `train` sees it: mirror images, augmentation, CutMix, gradient, step. Of
/// `options` only what says how is read. @throws NumericalError when the loss is not finite
StepReport train_step(const nn::Network& network, nn::NetworkState& state, Optimizer& optimizer,
                      double lr, const data::LabelledImages& batch, const TrainOptions& options,
                      const Rng& rng);

/// Gradient of a lesson, and a step. @throws NumericalError when the loss is not finite
StepReport train_step(const nn::Network& network, nn::NetworkState& state, Optimizer& optimizer,
                      double lr, const Lesson& lesson, const TrainOptions& options);

/// What `train` goes through, epoch by epoch. With the state of its network it can be saved after
/// any step and goes on from there, in another process too, to the same bits.
class Training {
 public:
  /// `network` and `data` must outlive it. @throws ConfigError for options that cannot be
  Training(const nn::Network& network, const TrainingData& data, TrainOptions options, Rng rng);
  /// `network` and `lessons` must outlive it. Of `options` those that say how images of a
  /// TrainingData are seen are not read: batches, order, mirror images, augmentation, CutMix.
  Training(const nn::Network& network, const Lessons& lessons, TrainOptions options, Rng rng);

  std::int64_t epochs_done() const { return epoch_; }
  bool finished() const { return epoch_ >= options_.epochs; }
  std::int64_t steps_per_epoch() const { return lessons_.steps_per_epoch(); }
  std::int64_t steps_done() const { return epoch_ * steps_per_epoch() + step_; }

  /// Makes the current epoch, or what is left of it.
  /// @throws NumericalError when the loss is not finite; Interrupted before a step when
  /// `options.stop` was requested: that step then is the next one
  EpochReport epoch(nn::NetworkState& state,
                    const std::function<void(const StepReport&)>& after_step = {});

  void save_state(storage::StateWriter& out) const;
  /// @param device where the network's state is
  void load_state(const storage::StateReader& in, at::Device device);

 private:
  Training(const nn::Network& network, std::unique_ptr<const Lessons> own, const Lessons* lessons,
           TrainOptions options, Rng rng);
  TrainOptions options_of_epoch() const;
  double momentum() const;
  StepReport step(nn::NetworkState& state, const TrainOptions& options, double lr,
                  const Lessons::Epoch& lessons);

  const nn::Network& network_;
  std::unique_ptr<const Lessons> own_;  ///< of a TrainingData
  const Lessons& lessons_;
  TrainOptions options_;
  Rng rng_;
  std::unique_ptr<Optimizer> optimizer_;
  Sgd* sgd_ = nullptr;      ///< the same, where it has a momentum
  std::int64_t epoch_ = 0;  ///< the one under way
  std::int64_t step_ = 0;   ///< its next step
  // Of its steps so far.
  double loss_sum_ = 0;
  double penalty_sum_ = 0;
  std::int64_t correct_ = 0;
  std::int64_t seen_ = 0;
};

/// Loss and gradients of one mini-batch in training mode (BatchNorm buffers of `state` move).
struct BatchGradient {
  double loss = 0;    ///< mean
  Tensor logits;      ///< [N,K], detached
  Tensors gradients;  ///< in the order of the parameters
};

/// Where an image's output does not depend on the others, the batch is cut into chunks of at most
/// 32 images that run several at once, each on one thread; their gradients are added in order.
/// (With LibTorch's own operations that is also 1.6 times as fast on one thread: less leaves the
/// cache.) The cut follows from N alone, so neither the number of threads nor being called from
/// inside parallel_tasks changes a bit. Networks with BatchNorm run uncut on the calling thread.
/// @param images [N,C,H,W]
BatchGradient batch_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images, const data::Labels& labels);

/// The same for targets at hand.  @param targets [N,K] probabilities, dtype of the parameters
BatchGradient batch_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images, const Tensor& targets);

/// The same of any loss.  @param batch_norm_group see TrainOptions
BatchGradient batch_gradient(const nn::Network& network, const nn::NetworkState& state,
                             const Tensor& images, const Targets& targets, const StudentLoss& loss,
                             std::int64_t batch_norm_group);

/// Into how many chunks a batch of `images` is cut.
std::int64_t gradient_chunks(std::int64_t images);

/// What cross-entropy compares with: one-hot classes, stored probabilities, or the softmax of
/// stored logits.  @return [N,K] of dtype `dtype`  @throws ConfigError if the labels do not fit K
Tensor target_probabilities(const data::Labels& labels, std::int64_t num_classes,
                            at::ScalarType dtype);

/// The labels of some rows.  @param indices int64 [n]
data::Labels select_labels(const data::Labels& labels, const Tensor& indices);

/// Embeddings in eval mode, without a graph, in chunks over all threads.  @return [N,F], on the CPU
Tensor embed(const nn::Network& network, const nn::NetworkState& state,
             const data::ImageDataset& dataset, data::Split split, const Tensor& indices);

}  // namespace retort::train
