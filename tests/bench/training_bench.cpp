#include "experiments/protocols.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/train/experts.h"
#include "lib/train/supervised.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_training.h"

namespace retort::bench {
namespace {

PlainTraining plain_training(const Batch& batch, const train::TrainOptions& options) {
  return {.images = batch.images,
          .labels = batch.labels,
          .augmentation = options.augmentation,
          .batch_size = options.batch_size,
          .lr = options.lr,
          .momentum = options.momentum,
          .weight_decay = options.weight_decay};
}

/// Gradients in the order of the parameters, the classifier's alone, and the loss: the classifier
/// lies behind the last ReLU, so none is undecided there.
Tensors results_of(const Tensors& gradients, double loss) {
  return {nn::flatten(gradients), nn::flatten({gradients.end() - 2, gradients.end()}),
          at::scalar_tensor(loss, at::kDouble)};
}

std::vector<Check> checks_of(const std::string& what, const Tensors& ours, const Tensors& plain,
                             const std::vector<Exact>& exact) {
  return {{what, ours[0], plain[0], exact[0]},
          {str(what, " in the classifier"), ours[1], plain[1], exact[1]},
          {"loss", ours[2], plain[2], exact[2]}};
}

using States = std::vector<nn::NetworkState>;

States copies(const States& states) {
  States result;
  for (const auto& state : states) result.push_back(state.detached_clone());
  return result;
}

/// Of all networks together.
Tensors changes(const States& states, const States& start, const std::vector<double>& losses) {
  std::vector<Tensors> joined(3);
  for (std::size_t i = 0; i < states.size(); ++i) {
    Tensors change;
    for (std::size_t p = 0; p < start[i].parameters.size(); ++p) {
      change.push_back(states[i].parameters[p].detach().to(at::kDouble) - start[i].parameters[p]);
    }
    const Tensors own = results_of(change, losses[i]);
    for (std::size_t k = 0; k < own.size(); ++k) joined[k].push_back(own[k].flatten());
  }
  return {at::cat(joined[0]), at::cat(joined[1]), at::cat(joined[2])};
}

/// Forward and backward of one training step.
class StepComparison : public Comparison {
 public:
  StepComparison(Scene& scene, const std::string& workload, std::int64_t batch, Style style)
      : scene_(scene), key_(str("train/", workload, "/batch:", batch)), style_(style) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    state_ = network_->initialize(Rng(3));
    batch_ = training_batch(dataset, 0, batch);
  }

  std::vector<Check> checks() override {
    const auto mine = our_gradient();
    const auto other = plain_gradient(style_, *network_, state_, batch_.images, batch_.labels);
    const auto& exact = scene_.exact.get(key_, [&] { return exact_gradient(); });
    return checks_of("gradient", results_of(mine.gradients, mine.loss),
                     results_of(other.gradients, other.loss), exact);
  }

  void ours(std::int64_t) override { our_gradient(); }
  void plain(std::int64_t) override {
    plain_gradient(style_, *network_, state_, batch_.images, batch_.labels);
  }

 private:
  train::BatchGradient our_gradient() const {
    return train::batch_gradient(*network_, state_, batch_.images,
                                 data::Labels(data::HardLabels{batch_.labels}));
  }

  std::vector<Exact> exact_gradient() const {
    const auto state = in_float64(state_);
    const Tensor images = batch_.images.to(at::kDouble);
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const double t : thresholds) {
        const auto g = plain_gradient(Style::Best, *network_, state, images, batch_.labels, t);
        results.push_back(results_of(g.gradients, g.loss));
      }
      return results;
    });
  }

  Scene& scene_;
  std::string key_;
  Style style_;
  std::unique_ptr<nn::Network> network_;
  nn::NetworkState state_;
  Batch batch_;
};

struct EpochCase {
  std::int64_t ipc = 10;
  std::int64_t networks = 1;
};

/// Epochs of the protocol `dsa`. One network is what a single evaluation run is; two at once are
/// what `retort evaluate` does with several seeds on two threads.
class EpochComparison : public Comparison {
 public:
  EpochComparison(Scene& scene, const std::string& workload, const EpochCase& wanted, Style style)
      : scene_(scene),
        key_(str("epoch/", workload, "/images:", wanted.ipc, "/networks:", wanted.networks)),
        style_(style) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    const Batch batch = training_batch(dataset, 0, wanted.ipc * dataset.num_classes());
    auto protocol = experiments::load_protocol("dsa");
    protocol.batch_size = scene.sizes.epoch_batch;
    options_ = protocol.train_options(dataset.info().mirror_changes_class);
    options_.epochs = 1;
    training_ = plain_training(batch, options_);
    data_ = std::make_unique<train::TensorData>(
        data::LabelledImages{batch.images, data::HardLabels{batch.labels}});
    for (std::int64_t i = 0; i < wanted.networks; ++i) {
      ours_.push_back(network_->initialize(Rng(std::uint64_t(i))));
    }
    plain_ = copies(ours_);
    losses_.resize(ours_.size());
    plain_losses_.resize(plain_.size());
  }

  std::vector<Check> checks() override {
    const auto start = copies(ours_);
    ours(-1);
    plain(-1);
    const auto& exact = scene_.exact.get(key_, [&] { return exact_changes(start); });
    return checks_of("change of the parameters", changes(ours_, start, losses_),
                     changes(plain_, start, plain_losses_), exact);
  }

  void ours(std::int64_t round) override {
    const auto one = [&](std::int64_t network) {
      const auto i = std::size_t(network);
      train::train(*network_, ours_[i], *data_, options_, stream(network, round),
                   [&](const train::EpochReport& report) {
                     losses_[i] = report.loss;
                     return true;
                   });
    };
    // A lone network spreads its mini-batches over the threads by itself (eval::Evaluator).
    if (ours_.size() == 1) return one(0);
    parallel_tasks(std::int64_t(ours_.size()), one);
  }

  void plain(std::int64_t round) override {
    run_plain(style_, training_, round, plain_, plain_losses_);
  }

 private:
  void run_plain(Style style, const PlainTraining& training, std::int64_t round, States& states,
                 std::vector<double>& losses) const {
    for_each(style, std::int64_t(states.size()), [&](std::int64_t i) {
      losses[std::size_t(i)] = plain_epoch(style, training, *network_, states[std::size_t(i)],
                                           stream(i, round).child("epoch", 0));
    });
  }

  std::vector<Exact> exact_changes(const States& start) const {
    PlainTraining training = training_;
    training.images = training.images.to(at::kDouble);
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const double t : thresholds) {
        training.relu_threshold = t;
        States states;
        for (const auto& state : start) states.push_back(in_float64(state));
        std::vector<double> losses(states.size());
        run_plain(Style::Best, training, -1, states, losses);
        results.push_back(changes(states, start, losses));
      }
      return results;
    });
  }

  static Rng stream(std::int64_t network, std::int64_t round) {
    return Rng(7).child("network", network).child("round", round);
  }

  Scene& scene_;
  std::string key_;
  Style style_;
  std::unique_ptr<nn::Network> network_;
  PlainTraining training_;
  train::TrainOptions options_;
  std::unique_ptr<train::TensorData> data_;
  States ours_;
  States plain_;
  std::vector<double> losses_;
  std::vector<double> plain_losses_;
};

/// The first epoch of an expert by the recipe `sgd`, from a dataset in memory.
class ExpertComparison : public Comparison {
 public:
  ExpertComparison(Scene& scene, const std::string& workload, Style style)
      : scene_(scene),
        key_(str("expert/", workload)),
        style_(style),
        dataset_(
            scene.workloads.get(workload).images_per_class(scene.sizes.expert_per_class, Rng(5))),
        network_(default_network(scene.sizes, dataset_)) {
    recipe_.batch_size = scene.sizes.expert_batch;
    recipe_.epochs = 1;
    const Batch all = training_batch(dataset_, 0, dataset_.size(data::Split::Train));
    training_ = plain_training(all, recipe_.train_options(dataset_.info().mirror_changes_class));
  }

  double images() const override { return double(training_.images.size(0)); }

  std::vector<Check> checks() override {
    const States start{network_->initialize(Rng(seeds(-1).init))};
    ours(-1);
    plain(-1);
    const auto& exact = scene_.exact.get(key_, [&] { return exact_change(start); });
    return checks_of("change of the parameters", changes({ours_}, start, {loss_}),
                     changes({plain_}, start, {plain_loss_}), exact);
  }

  void ours(std::int64_t round) override {
    train::ExpertTraining training(*network_, dataset_, recipe_, seeds(round));
    loss_ = training.epoch().loss;
    ours_ = training.state();
  }

  void plain(std::int64_t round) override {
    plain_ = network_->initialize(Rng(seeds(round).init));
    plain_loss_ = plain_epoch(style_, training_, *network_, plain_, stream(round));
  }

 private:
  std::vector<Exact> exact_change(const States& start) const {
    PlainTraining training = training_;
    training.images = training.images.to(at::kDouble);
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const double t : thresholds) {
        training.relu_threshold = t;
        nn::NetworkState state = in_float64(start.front());
        const double loss = plain_epoch(Style::Best, training, *network_, state, stream(-1));
        results.push_back(changes({state}, start, {loss}));
      }
      return results;
    });
  }

  static storage::ExpertSeeds seeds(std::int64_t round) { return train::expert_seeds(7, round); }
  static Rng stream(std::int64_t round) { return Rng(seeds(round).data).child("epoch", 0); }

  Scene& scene_;
  std::string key_;
  Style style_;
  data::ImageDataset dataset_;
  std::unique_ptr<nn::Network> network_;
  train::ExpertRecipe recipe_;
  PlainTraining training_;
  nn::NetworkState ours_;
  nn::NetworkState plain_;
  double loss_ = 0;
  double plain_loss_ = 0;
};

}  // namespace

std::vector<Line> training_lines(Scene& scene) {
  std::vector<Line> lines;
  for (const std::string& workload : Workloads::names()) {
    for (const Style style : kStyles) {
      for (const std::int64_t batch : scene.sizes.train_batches) {
        lines.push_back({style_name(style), str("train/", workload, "/batch:", batch),
                         [&scene, workload, batch, style] {
                           return std::make_unique<StepComparison>(scene, workload, batch, style);
                         }});
      }
      lines.push_back({style_name(style), str("expert/", workload), [&scene, workload, style] {
                         return std::make_unique<ExpertComparison>(scene, workload, style);
                       }});
      for (const std::int64_t networks : {1, 2}) {
        for (const std::int64_t ipc : scene.sizes.epoch_ipc) {
          const std::string work =
              str("epoch/", workload, "/images:", 10 * ipc, "/networks:", networks);
          lines.push_back({style_name(style), work,
                           [&scene, workload, wanted = EpochCase{ipc, networks}, style] {
                             return std::make_unique<EpochComparison>(scene, workload, wanted,
                                                                      style);
                           }});
        }
      }
    }
  }
  return lines;
}

}  // namespace retort::bench
