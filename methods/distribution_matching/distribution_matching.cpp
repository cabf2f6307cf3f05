#include "methods/distribution_matching/distribution_matching.h"

#include "methods/distribution_matching/discrepancy.h"
#include "methods/matching/features.h"

namespace retort::methods::distribution_matching {
namespace {

Tensor sum_of_discrepancies(const matching::FeaturePair& features, double bandwidth) {
  const auto real = features.real.split_with_sizes(features.real_counts);
  const auto synthetic = features.synthetic.split_with_sizes(features.synthetic_counts);
  Tensor total = gaussian_discrepancy(real[0], synthetic[0], bandwidth);
  for (std::size_t c = 1; c < real.size(); ++c) {
    total = total + gaussian_discrepancy(real[c], synthetic[c], bandwidth);
  }
  return total;
}

}  // namespace

void Options::describe(config::OptionTable& table) {
  MatchingOptions::describe(table);
  table.add("discrepancy", discrepancy,
            "what is compared of the embeddings of a class: their mean, or by a gaussian kernel "
            "their whole distribution (Zhang et al. 2024)",
            config::one_of({"mean", "gaussian"}));
  table
      .add("bandwidth", bandwidth,
           "gaussian: variance of the kernel, in mean squared distances between real embeddings",
           config::positive())
      .only_with("discrepancy", {"gaussian"});
}

matching::Loss DistributionObjective::loss(const matching::Lens& lens,
                                           const std::vector<matching::ClassPair>& classes) const {
  const auto real = matching::join_real(classes);
  Tensors chunks;
  matching::forward_real(lens, real.images, 0, [&](std::int64_t, const nn::ForwardResult& r) {
    chunks.push_back(r.embedding);
  });
  const auto synthetic = matching::join_synthetic(classes);
  const auto result = lens.network.forward(lens.state, synthetic.images,
                                           {.mode = nn::Mode::Train, .logits = false});
  const matching::FeaturePair embeddings{at::cat(chunks), real.counts, result.embedding,
                                         synthetic.counts};
  return {gaussian_bandwidth_ ? sum_of_discrepancies(embeddings, *gaussian_bandwidth_)
                              : matching::distance_of_means(embeddings),
          {}};
}

DistributionMatching::DistributionMatching(const Options& options)
    : MatchingMethod(
          options, std::make_unique<DistributionObjective>(
                       options.discrepancy == "gaussian" ? std::optional<double>(options.bandwidth)
                                                         : std::nullopt)) {}

MethodInfo info() {
  return {"dm", "Distribution matching", "Zhao and Bilen, WACV 2023",
          "Matches the embeddings of every class, their mean or their distribution.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, DistributionMatching>>();
          }};
}

}  // namespace retort::methods::distribution_matching
