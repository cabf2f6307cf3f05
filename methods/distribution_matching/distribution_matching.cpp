#include "methods/distribution_matching/distribution_matching.h"

#include "methods/distribution_matching/discrepancy.h"
#include "methods/matching/features.h"

namespace retort::methods::distribution_matching {

void Options::describe(config::OptionTable& table) {
  MatchingOptions::describe(table);
  table.add("kernel", kernel,
            "what is matched of the embeddings of a class: linear: their mean; gaussian: their "
            "whole distribution, by the maximum mean discrepancy (Zhang et al. 2024)",
            config::one_of({"linear", "gaussian"}));
  table.add("bandwidth", bandwidth,
            "gaussian: variance of the kernel, in mean squared distances between real embeddings",
            config::positive());
}

matching::Loss DistributionObjective::loss(const matching::Lens& lens,
                                           const std::vector<matching::ClassPair>& classes) const {
  const auto real = matching::join_real(classes);
  Tensors chunks;
  matching::forward_real(lens, real.images, 0, [&](std::int64_t, const nn::ForwardResult& r) {
    chunks.push_back(r.embedding);
  });
  const Tensor real_rows = at::cat(chunks);

  const auto synthetic = matching::join_synthetic(classes);
  const Tensor rows = lens.network
                          .forward(lens.state, synthetic.images,
                                   {.mode = nn::Mode::Train, .logits = false})
                          .embedding;
  if (!gaussian_bandwidth_) {
    return {(matching::class_means(real_rows, real.counts) -
             matching::class_means(rows, synthetic.counts))
                .square()
                .sum(),
            {}};
  }
  const auto real_parts = real_rows.split_with_sizes(real.counts);
  const auto parts = rows.split_with_sizes(synthetic.counts);
  Tensor total = at::zeros({}, rows.options());
  for (std::size_t c = 0; c < parts.size(); ++c) {
    total = total + gaussian_discrepancy(real_parts[c], parts[c], *gaussian_bandwidth_);
  }
  return {total, {}};
}

DistributionMatching::DistributionMatching(const Options& options)
    : MatchingMethod(options, std::make_unique<DistributionObjective>(
                                  options.kernel == "gaussian"
                                      ? std::optional<double>(options.bandwidth)
                                      : std::nullopt)) {}

MethodInfo info() {
  return {"dm", "Distribution matching", "Zhao and Bilen, WACV 2023",
          "Matches the mean embedding of every class in random networks.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, DistributionMatching>>();
          }};
}

}  // namespace retort::methods::distribution_matching
