#include "methods/attention_matching/attention_matching.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "methods/matching/features.h"

namespace retort::methods::attention_matching {

void Options::describe(config::OptionTable& table) {
  MatchingOptions::describe(table);
  table.add("power", power, "exponent p of the attention map", config::in_range(0.5, 16.0));
  table
      .add("lambda", lambda, "weight of the embedding term (alias: task-balance)",
           config::non_negative())
      .aliases = {"task-balance"};
}

Tensor unit_length(const Tensor& rows) { return rows / rows.norm(2, {1}, true).clamp_min(1e-12); }

void AttentionObjective::check(const nn::Network& network) const {
  const at::NoGradGuard no_grad;
  const auto input = network.input();
  const Tensor blank = at::zeros({1, input.channels, input.height, input.width});
  const auto maps = network
                        .forward(network.initialize(Rng(0)), blank,
                                 {.mode = nn::Mode::Eval, .logits = false, .attention_power = 1})
                        .attention.size();
  if (maps >= 2) return;
  throw ConfigError(str("network ", network.name(),
                        ": attention is matched in every activation map but the last, which needs "
                        "at least two; found ",
                        maps, "; take a ConvNet of two or more blocks"));
}

matching::Loss AttentionObjective::loss(const matching::Lens& lens,
                                        const std::vector<matching::ClassPair>& classes) const {
  const auto real = matching::join_real(classes);
  std::vector<Tensors> real_attention;  // [layer][chunk]
  Tensors embeddings;
  matching::forward_real(lens, real.images, power_, [&](std::int64_t, const nn::ForwardResult& r) {
    // The last attention takes no part: its place is the embedding's.
    real_attention.resize(r.attention.size() - 1);
    for (std::size_t l = 0; l < real_attention.size(); ++l) {
      real_attention[l].push_back(unit_length(r.attention[l]));
    }
    embeddings.push_back(r.embedding);
  });

  const auto synthetic = matching::join_synthetic(classes);
  const auto result =
      lens.network.forward(lens.state, synthetic.images,
                           {.mode = nn::Mode::Train, .logits = false, .attention_power = power_});
  const auto squared_distance = [&](const Tensor& real_rows, const Tensor& synthetic_rows) {
    return matching::distance_of_means({real_rows, real.counts, synthetic_rows, synthetic.counts});
  };
  const Tensor embedding_term =
      100 * lambda_ * squared_distance(at::cat(embeddings), result.embedding);
  Tensor attention_term = at::zeros_like(embedding_term);
  for (std::size_t l = 0; l < real_attention.size(); ++l) {
    const Tensor rows = unit_length(result.attention[l]);
    attention_term = attention_term + 100 * squared_distance(at::cat(real_attention[l]), rows);
  }
  return {
      attention_term + embedding_term,
      {{"attention", attention_term.item<double>()}, {"embedding", embedding_term.item<double>()}}};
}

matching::LossCost AttentionObjective::cost() const {
  // Our loops know the powers of the papers.
  const bool fused = power_ == 1 || power_ == 2 || power_ == 4;
  const Pass pass = fused ? Pass::Fused : Pass::Layered;
  return {.real_pass = pass, .synthetic_pass = pass};
}

MethodInfo info() {
  return {"datadam", "Attention matching", "Sajedi et al., ICCV 2023",
          "Matches spatial attention at every layer but the last, and mean embeddings.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, AttentionMatching>>();
          }};
}

}  // namespace retort::methods::attention_matching
