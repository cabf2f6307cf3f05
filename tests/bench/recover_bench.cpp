#include <torch/csrc/autograd/autograd.h>

#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "methods/decoupled/batch_norm_loss.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_convnet.h"

namespace retort::bench {
namespace {

constexpr double kStatisticsWeight = 0.1;

struct RecoverCase {
  std::string name;
  std::int64_t groups = 1;  ///< of an image per class each, with statistics of their own
};

/// Cross-entropy and BatchNorm's loss, and its gradient for the images.
struct RecoverGradient {
  Tensor loss;
  Tensor images;
};

RecoverGradient gradient_of(const Tensor& x, const Tensor& labels, const Tensor& logits,
                            const std::vector<nn::BatchStatistics>& statistics,
                            const Tensors& running) {
  const Tensor loss = -logits.log_softmax(1).gather(1, labels.unsqueeze(1)).mean() +
                      kStatisticsWeight * methods::decoupled::batch_norm_loss(statistics, running);
  return {loss.detach(), torch::autograd::grad({loss}, {x})[0]};
}

/// What recovering images takes in one iteration: of every group of images the gradient of its
/// cross-entropy and of its distance from the running statistics.
class RecoverComparison : public Comparison {
 public:
  RecoverComparison(Scene& scene, const std::string& workload, const RecoverCase& wanted,
                    Style style)
      : scene_(scene), key_(str(wanted.name, "/", workload)), style_(style) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = nn::make_network("ConvNet-3-BN" + scene.sizes.width, dataset.shape(),
                                dataset.num_classes());
    state_ = network_->initialize(Rng(3));
    const Batch seen = training_batch(dataset, 0, dataset.num_classes());
    // Running statistics of something else than the images at hand.
    network_->forward(state_, seen.images, {.mode = nn::Mode::Train});
    for (std::int64_t g = 0; g < wanted.groups; ++g) {
      groups_.push_back(training_batch(dataset, g * dataset.num_classes(), dataset.num_classes()));
    }
  }

  std::vector<Check> checks() override {
    const auto mine = joined(our_gradients());
    const auto other = joined(plain_gradients(style_, state_, 0, at::kFloat));
    const auto& exact = scene_.exact.get(key_, [&] {
      const auto state = in_float64(state_);
      return bracketed([&](const std::vector<double>& thresholds) {
        std::vector<Tensors> results;
        for (const double t : thresholds) {
          results.push_back(joined(plain_gradients(Style::Best, state, t, at::kDouble)));
        }
        return results;
      });
    });
    return {{"gradient of the images", mine[0], other[0], exact[0]},
            {"loss", mine[1], other[1], exact[1]}};
  }

  void ours(std::int64_t) override { our_gradients(); }
  void plain(std::int64_t) override { plain_gradients(style_, state_, 0, at::kFloat); }

 private:
  using Gradients = std::vector<RecoverGradient>;

  static Tensors joined(const Gradients& gradients) {
    Tensors images;
    Tensors losses;
    for (const auto& [loss, image] : gradients) {
      losses.push_back(loss);
      images.push_back(image);
    }
    return {at::cat(images), at::stack(losses)};
  }

  Gradients our_gradients() const {
    Gradients gradients(groups_.size());
    for_each(Style::Best, std::int64_t(groups_.size()), [&](std::int64_t g) {
      const Tensor x = groups_[std::size_t(g)].images.detach().requires_grad_();
      const auto out = network_->forward(state_, x, {.batch_norm_statistics = true});
      gradients[std::size_t(g)] = gradient_of(x, groups_[std::size_t(g)].labels, out.logits,
                                              out.batch_norm_statistics, state_.buffers);
    });
    return gradients;
  }

  Gradients plain_gradients(Style style, const nn::NetworkState& state, double threshold,
                            at::ScalarType dtype) const {
    Gradients gradients(groups_.size());
    for_each(style, std::int64_t(groups_.size()), [&](std::int64_t g) {
      const Tensor x = groups_[std::size_t(g)].images.detach().to(dtype).requires_grad_();
      const auto out = plain_convnet(*network_, state, x,
                                     {.relu_threshold = threshold, .looks_at_statistics = true});
      std::vector<nn::BatchStatistics> statistics;
      for (std::size_t b = 0; b < out.mean.size(); ++b) {
        statistics.push_back({out.mean[b], out.variance[b]});
      }
      gradients[std::size_t(g)] =
          gradient_of(x, groups_[std::size_t(g)].labels, out.logits, statistics, state.buffers);
    });
    return gradients;
  }

  Scene& scene_;
  std::string key_;
  Style style_;
  std::unique_ptr<nn::Network> network_;
  nn::NetworkState state_;
  std::vector<Batch> groups_;
};

}  // namespace

std::vector<Line> recover_lines(Scene& scene) {
  const std::vector<RecoverCase> cases = {{"recover/groups:1", 1}, {"recover/groups:10", 10}};
  return lines_of<RecoverComparison>(scene, cases);
}

}  // namespace retort::bench
