#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/eval/evaluator.h"
#include "lib/train/supervised.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_training.h"
#include "tests/bench/stacked.h"

namespace retort::bench {
namespace {

constexpr double kLr = 0.01;

enum class Against {
  Grouped,  ///< LibTorch's grouped convolutions over the stack
  Serial,   ///< our kernels, one network after the other, each over all threads
};

/// A training step of several networks, each on images of its own: ours as `retort evaluate` runs
/// them, one per core.
class StackComparison : public Comparison {
 public:
  StackComparison(Scene& scene, const std::string& workload, std::int64_t networks, Against against)
      : scene_(scene), key_(str("stacked/", workload, "/networks:", networks)), against_(against) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    const std::int64_t n = scene.sizes.stack_batch;
    Tensors images;
    Tensors labels;
    for (std::int64_t i = 0; i < networks; ++i) {
      ours_.emplace_back(network_->initialize(Rng(std::uint64_t(i))));
      batches_.push_back(training_batch(dataset, i * n, n));
      images.push_back(batches_.back().images);
      labels.push_back(batches_.back().labels);
    }
    serial_ = copies(ours_);
    images_ = at::stack(images);
    labels_ = at::stack(labels);
    stack_ = stack_parameters(states_of(ours_));
  }

  std::vector<Check> checks() override {
    const Tensors start = stack_parameters(states_of(ours_));
    const auto& exact = scene_.exact.get(key_, [&] { return exact_changes(); });
    ours(0);
    plain(0);
    const Tensors other =
        against_ == Against::Grouped ? stack_ : stack_parameters(states_of(serial_));
    return {{"change of the parameters", change(stack_parameters(states_of(ours_)), start),
             change(other, start), exact[0]}};
  }

  void ours(std::int64_t) override {
    const auto runs = std::int64_t(ours_.size());
    const auto one = [&](std::int64_t i) { step(ours_[std::size_t(i)], i); };
    const std::int64_t at_once =
        eval::runs_at_once(runs, thread_count(), train::gradient_chunks(images_.size(1)));
    parallel_tasks(at_once, one);
    for (std::int64_t i = at_once; i < runs; ++i) one(i);
  }

  void plain(std::int64_t) override {
    if (against_ == Against::Grouped) {
      stack_sgd_.step(stack_, stacked_gradients(*network_, stack_, images_, labels_), kLr);
      return;
    }
    for (std::size_t i = 0; i < serial_.size(); ++i) step(serial_[i], std::int64_t(i));
  }

 private:
  struct Trained {
    explicit Trained(nn::NetworkState initial) : state(std::move(initial)) {}
    nn::NetworkState state;
    train::Sgd sgd{0.9, 5e-4};
  };

  void step(Trained& trained, std::int64_t i) const {
    const Batch& batch = batches_[std::size_t(i)];
    train::train_step(*network_, trained.state, trained.sgd, kLr,
                      {batch.images, data::HardLabels{batch.labels}}, {}, Rng(0));
  }

  std::vector<Exact> exact_changes() const {
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const double t : thresholds) {
        std::vector<nn::NetworkState> after;
        std::vector<nn::NetworkState> before;
        for (std::size_t i = 0; i < ours_.size(); ++i) {
          before.push_back(in_float64(ours_[i].state));
          after.push_back(in_float64(ours_[i].state));
          const auto gradient =
              plain_gradient(Style::Best, *network_, before.back(),
                             batches_[i].images.to(at::kDouble), batches_[i].labels, t);
          train::Sgd(0.9, 5e-4).step(after.back().parameters, gradient.gradients, kLr);
        }
        results.push_back({change(stack_parameters(after), stack_parameters(before))});
      }
      return results;
    });
  }

  static Tensor change(const Tensors& after, const Tensors& before) {
    Tensors differences;
    for (std::size_t p = 0; p < after.size(); ++p) {
      differences.push_back(after[p].to(at::kDouble) - before[p]);
    }
    return nn::flatten(differences);
  }

  static std::vector<nn::NetworkState> states_of(const std::vector<Trained>& networks) {
    std::vector<nn::NetworkState> states;
    for (const auto& trained : networks) states.push_back(trained.state);
    return states;
  }

  static std::vector<Trained> copies(const std::vector<Trained>& networks) {
    std::vector<Trained> result;
    for (const auto& trained : networks) result.emplace_back(trained.state.detached_clone());
    return result;
  }

  Scene& scene_;
  std::string key_;
  Against against_;
  std::unique_ptr<nn::Network> network_;
  std::vector<Batch> batches_;
  Tensor images_;  ///< [S,N,C,H,W]
  Tensor labels_;  ///< [S,N]
  std::vector<Trained> ours_;
  std::vector<Trained> serial_;
  Tensors stack_;
  train::Sgd stack_sgd_{0.9, 5e-4};
};

}  // namespace

std::vector<Line> stacked_lines(Scene& scene) {
  std::vector<Line> lines;
  for (const std::int64_t networks : scene.sizes.stacks) {
    for (const std::string& workload : Workloads::names()) {
      for (const Against against : {Against::Grouped, Against::Serial}) {
        const std::string opponent = against == Against::Grouped ? "best" : "serial";
        const std::string work = str("stacked/", workload, "/networks:", networks);
        lines.push_back({opponent, work, [&scene, workload, networks, against] {
                           return std::make_unique<StackComparison>(scene, workload, networks,
                                                                    against);
                         }});
      }
    }
  }
  return lines;
}

}  // namespace retort::bench
