#include "lib/core/str.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_convnet.h"

namespace retort::bench {
namespace {

/// Embeddings of real images in a random network, no gradient: the larger part of DM.
class FeatureComparison : public Comparison {
 public:
  FeatureComparison(Scene& scene, const std::string& workload, Style style)
      : scene_(scene), workload_(workload), style_(style) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    state_ = network_->initialize(Rng(3));
    images_ = training_batch(dataset, 0, scene.sizes.feature_images).images;
  }

  std::vector<Check> checks() override {
    ours(0);
    plain(0);
    const auto& exact = scene_.exact.get("features/" + workload_, [&] {
      return std::vector<Exact>{
          {plain_features(Style::Best, *network_, in_float64(state_), images_.to(at::kDouble)),
           {}}};
    });
    return {{"embedding", ours_, plain_, exact[0], true}};
  }

  void ours(std::int64_t) override {
    const at::NoGradGuard no_grad;
    ours_ =
        network_->forward(state_, images_, {.mode = nn::Mode::Train, .logits = false}).embedding;
  }

  void plain(std::int64_t) override { plain_ = plain_features(style_, *network_, state_, images_); }

 private:
  Scene& scene_;
  std::string workload_;
  Style style_;
  std::unique_ptr<nn::Network> network_;
  nn::NetworkState state_;
  Tensor images_;
  Tensor ours_;
  Tensor plain_;
};

}  // namespace

std::vector<Line> feature_lines(Scene& scene) {
  std::vector<Line> lines;
  for (const std::string& workload : Workloads::names()) {
    for (const Style style : kStyles) {
      lines.push_back({style_name(style), "features/" + workload, [&scene, workload, style] {
                         return std::make_unique<FeatureComparison>(scene, workload, style);
                       }});
    }
  }
  return lines;
}

}  // namespace retort::bench
