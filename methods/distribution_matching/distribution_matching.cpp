#include "methods/distribution_matching/distribution_matching.h"

#include "methods/matching/features.h"

namespace retort::methods::distribution_matching {

matching::Loss DistributionObjective::loss(const matching::Lens& lens,
                                           const std::vector<matching::ClassPair>& classes) const {
  const auto real = matching::join_real(classes);
  Tensors embeddings;
  matching::forward_real(lens, real.images, 0, [&](std::int64_t, const nn::ForwardResult& r) {
    embeddings.push_back(r.embedding);
  });
  const Tensor real_means = matching::class_means(at::cat(embeddings), real.counts);

  const auto synthetic = matching::join_synthetic(classes);
  const auto result = lens.network.forward(lens.state, synthetic.images,
                                           {.mode = nn::Mode::Train, .logits = false});
  const Tensor means = matching::class_means(result.embedding, synthetic.counts);
  return {(real_means - means).square().sum(), {}};
}

MethodInfo info() {
  return {"dm", "Distribution matching", "Zhao and Bilen, WACV 2023",
          "Matches the mean embedding of every class in random networks.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, DistributionMatching>>();
          }};
}

}  // namespace retort::methods::distribution_matching
