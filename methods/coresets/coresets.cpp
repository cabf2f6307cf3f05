#include "methods/coresets/coresets.h"

#include "lib/nn/network.h"
#include "methods/prediction.h"

namespace retort::methods::coresets {

void Options::describe(config::OptionTable& table) {
  RealImagesOptions::describe(table);
  features.describe(table);
}

Tensor Coreset::select(RunContext& run, std::int64_t per_class) const {
  return synth::select_real(run.dataset, rule_, per_class, options_.features,
                            run.rng.child("select"), run.stop);
}

Work Coreset::work(const RunContext& run) const {
  if (options_.features.features == "pixels") return {};
  const auto network =
      nn::make_network(options_.features.net, run.dataset.shape(), run.dataset.num_classes());
  Work work;
  work.setup = feature_flops(run.dataset, options_.features);
  work.memory_bytes =
      pixel_bytes(run.dataset) + activation_bytes(*network, double(synth::kFeatureBatchSize));
  return work;
}

namespace {

template <const char* kRule>
class NamedCoreset : public Coreset {
 public:
  explicit NamedCoreset(const Options& options) : Coreset(options, kRule) {}
};

template <const char* kRule>
std::unique_ptr<MethodFactory> factory() {
  return std::make_unique<SimpleFactory<Options, NamedCoreset<kRule>>>();
}

constexpr char kHerding[] = "herding";
constexpr char kKCenter[] = "k-center";
constexpr char kKMeans[] = "k-means";

}  // namespace

MethodInfo herding_info() {
  return {kHerding, "Herding", "Welling, ICML 2009",
          "Real images whose running mean follows the class mean in feature space.",
          &factory<kHerding>};
}

MethodInfo k_center_info() {
  return {kKCenter, "Greedy k-center", "Sener and Savarese, ICLR 2018",
          "Real images that cover the class: always the farthest from those chosen.",
          &factory<kKCenter>};
}

MethodInfo k_means_info() {
  return {kKMeans, "k-means", "Cui et al. (DC-BENCH), NeurIPS 2022",
          "The real image nearest to each of ipc centroids per class.", &factory<kKMeans>};
}

}  // namespace retort::methods::coresets
