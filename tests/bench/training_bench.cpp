#include <algorithm>
#include <cmath>
#include <memory>

#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/eval/protocol.h"
#include "lib/train/supervised.h"
#include "tests/bench/benches.h"
#include "tests/bench/comparison.h"
#include "tests/bench/plain.h"

namespace retort::bench {
namespace {

struct EpochCase {
  std::int64_t ipc = 10;
  std::int64_t networks = 1;
};

constexpr double kAllowed = 1e-4;
// Every image adds to every parameter's gradient, so one flipped ReLU shows in all but those of the
// classifier, which lie behind the last one (compare difference_of_most_images).
constexpr double kAllowedWithFlips = 1e-2;

/// Epochs of the protocol `dsa`. One network is what a single evaluation run is; two at once are
/// what `retort evaluate` does with several seeds on two threads.
class EpochComparison : public Comparison {
 public:
  EpochComparison(const Workload& workload, const EpochCase& wanted, const Sizes& sizes)
      : network_(nn::make_network("ConvNet-3" + sizes.width, workload.dataset.shape(),
                                  workload.dataset.num_classes())) {
    Tensors rows;
    for (std::int64_t c = 0; c < workload.dataset.num_classes(); ++c) {
      rows.push_back(workload.dataset.class_indices(c).narrow(0, 0, wanted.ipc));
    }
    training_.images = workload.dataset.batch(data::Split::Train, at::cat(rows));
    training_.labels =
        at::arange(workload.dataset.num_classes(), at::kLong).repeat_interleave(wanted.ipc);
    auto protocol = eval::load_protocol("dsa");
    protocol.batch_size = sizes.epoch_batch;
    options_ = protocol.train_options(workload.dataset.info().mirror_changes_class);
    options_.epochs = 1;
    training_.augmentation = options_.augmentation;
    training_.batch_size = options_.batch_size;
    training_.lr = options_.lr;
    training_.momentum = options_.momentum;
    training_.weight_decay = options_.weight_decay;
    data_ = std::make_unique<train::TensorData>(
        data::LabelledImages{training_.images, data::HardLabels{training_.labels}});
    for (std::int64_t i = 0; i < wanted.networks; ++i) {
      ours_.push_back(network_->initialize(Rng(std::uint64_t(i))));
      plain_.push_back(ours_.back().detached_clone());
    }
    losses_.resize(ours_.size());
    plain_losses_.resize(plain_.size());
  }

  std::vector<Difference> differences() override {
    std::vector<Tensors> start;
    for (const auto& state : ours_) start.push_back(state.detached_clone().parameters);
    ours(-1);
    plain(-1);
    Difference all{"change of the parameters", 0, kAllowedWithFlips};
    Difference classifier{"change of the classifier", 0, kAllowed};
    Difference loss{"loss", 0, kAllowed};
    for (std::size_t i = 0; i < start.size(); ++i) {
      const Tensors change = changes(ours_[i], start[i]);
      const Tensors plain_change = changes(plain_[i], start[i]);
      const auto grow = [](Difference& d, double found) { d.found = std::max(d.found, found); };
      grow(all, relative_difference(nn::flatten(change), nn::flatten(plain_change)));
      grow(classifier,
           relative_difference(nn::flatten({change.end() - 2, change.end()}),
                               nn::flatten({plain_change.end() - 2, plain_change.end()})));
      grow(loss, std::abs(losses_[i] - plain_losses_[i]) / plain_losses_[i]);
    }
    return {all, classifier, loss};
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
    for (std::size_t i = 0; i < plain_.size(); ++i) {
      plain_losses_[i] = plain_epoch(training_, *network_, plain_[i],
                                     stream(std::int64_t(i), round).child("epoch", 0));
    }
  }

 private:
  static Tensors changes(const nn::NetworkState& state, const Tensors& start) {
    Tensors result;
    for (std::size_t i = 0; i < start.size(); ++i) {
      result.push_back(state.parameters[i].detach() - start[i]);
    }
    return result;
  }

  static Rng stream(std::int64_t network, std::int64_t round) {
    return Rng(7).child("network", network).child("round", round);
  }

  std::unique_ptr<nn::Network> network_;
  PlainTraining training_;
  train::TrainOptions options_;
  std::unique_ptr<train::TensorData> data_;
  std::vector<nn::NetworkState> ours_;
  std::vector<nn::NetworkState> plain_;
  std::vector<double> losses_;
  std::vector<double> plain_losses_;
};

}  // namespace

void register_training(const std::vector<Workload>& workloads, const Sizes& sizes, bool& agreed) {
  for (const std::int64_t networks : {1, 2}) {
    for (const std::int64_t ipc : sizes.epoch_ipc) {
      for (const Workload& workload : workloads) {
        const EpochCase wanted{ipc, networks};
        const auto run = [&workload, &agreed, wanted, sizes](benchmark::State& state) {
          EpochComparison comparison(workload, wanted, sizes);
          agreed = run_comparison(state, comparison) && agreed;
        };
        const std::int64_t images = ipc * workload.dataset.num_classes();
        const std::string name =
            str("epoch/", workload.name, "/images:", images, "/networks:", networks);
        benchmark::RegisterBenchmark(name.c_str(), run)
            ->Iterations(sizes.rounds)
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace retort::bench
