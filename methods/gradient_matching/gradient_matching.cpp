#include "methods/gradient_matching/gradient_matching.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/train/supervised.h"

namespace retort::methods::gradient_matching {
namespace {

constexpr std::int64_t kMany = 1'000'000;

/// What Kim et al.'s code calls `cos` is the sum over rows.
Metric idc_metric(const std::string& name) {
  return name == "cos" ? Metric::Rows : parse_metric(name);
}

Tensor all_of(std::int64_t label, const Tensor& images) {
  return at::full({images.size(0)}, label, at::kLong);
}

void describe_cache(matching::MatchingOptions& options, config::OptionTable& table) {
  table.add("cached-draws", options.cached_draws,
            "pool: real gradients kept per network and class, each with its augmentation, instead "
            "of new ones in every iteration; 0: none",
            config::in_range(std::int64_t{0}, kMany));
  table
      .add("cache-mb", options.cache_mb,
           "memory for kept gradients, MB; the others are computed again",
           config::in_range(std::int64_t{0}, kMany))
      .not_with("cached-draws", {"0"});
}

}  // namespace

Tensors real_gradients(const matching::Lens& lens, const Tensor& images, const Tensor& labels) {
  // Running statistics, not those of the batch.
  if (lens.network.has_batch_norm()) return differentiable_gradients(lens, images, labels);
  return train::batch_gradient(lens.network, lens.state, images, data::HardLabels{labels})
      .gradients;
}

Tensors differentiable_gradients(const matching::Lens& lens, const Tensor& images,
                                 const Tensor& labels) {
  const Tensor targets =
      at::one_hot(labels, lens.network.num_classes()).to(images.device(), images.scalar_type());
  return lens.network.loss_gradients(lens.state, images, targets);
}

void GradientObjective::check(const nn::Network& network) const {
  if (scope_ == Scope::All) return;
  const auto& parameters = network.parameters();
  if (std::any_of(parameters.begin(), parameters.end(),
                  [](const auto& info) { return info.shape.size() > 2; })) {
    return;
  }
  throw ConfigError(str("match-parameters convolutions with network ", network.name(),
                        ": it has none; match-parameters all looks at every parameter"));
}

Tensors GradientObjective::real_half(const matching::Lens& lens, std::int64_t class_index,
                                     const Tensor& real) const {
  return real_gradients(lens, real, all_of(class_index, real));
}

matching::Loss GradientObjective::loss(const matching::Lens& lens,
                                       const std::vector<matching::ClassPair>& classes) const {
  Tensor total;
  for (const matching::ClassPair& pair : classes) {
    const Tensors real =
        pair.real_half.empty() ? real_half(lens, pair.class_index, pair.real) : pair.real_half;
    const Tensors synthetic =
        differentiable_gradients(lens, pair.synthetic, all_of(pair.class_index, pair.synthetic));
    const Tensor distance = gradient_distance(real, synthetic, metric_, scope_);
    total = total.defined() ? total + distance : distance;
  }
  return {total, {}};
}

void Options::describe(config::OptionTable& table) {
  MatchingOptions::describe(table);
  table
      .add("metric", metric,
           "distance of gradients: 1 - cosine by output row, 1 - cosine of all, squared, absolute, "
           "mean absolute by output row",
           config::one_of({"rows", "cos", "mse", "l1", "l1-mean"}))
      .aliases = {"dis-metric"};
  describe_cache(*this, table);
}

void IdcOptions::describe(config::OptionTable& table) {
  MatchingOptions::describe(table);
  table.add("metric", metric,
            "distance of gradients: squared, absolute, mean absolute by row, 1 - cosine by row",
            config::one_of({"mse", "l1", "l1-mean", "cos"}));
  table.add("match-parameters", match_parameters, "whose gradients are compared",
            config::one_of({"convolutions", "all"}));
  describe_cache(*this, table);
}

Idc::Idc(const IdcOptions& options)
    : MatchingMethod(options,
                     std::make_unique<GradientObjective>(
                         idc_metric(options.metric),
                         options.match_parameters == "all" ? Scope::All : Scope::Convolutions)) {}

MethodInfo info() {
  return {"gm", "Gradient matching", "Zhao, Mopuri and Bilen, ICLR 2021; Kim et al., ICML 2022",
          "Matches the loss gradients of every class in networks trained on real data.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<Options, GradientMatching>>();
          }};
}

MethodInfo dc_info() {
  return {"dc", "Dataset condensation", "Zhao, Mopuri and Bilen, ICLR 2021",
          "Matches the loss gradients of every class in networks trained on the synthetic set.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<DcOptions, GradientMatching>>();
          }};
}

MethodInfo dsa_info() {
  return {"dsa", "Differentiable Siamese augmentation", "Zhao and Bilen, ICML 2021",
          "DC with the same augmentation of real and synthetic images, from real images.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<DsaOptions, GradientMatching>>();
          }};
}

MethodInfo idc_info() {
  return {"idc", "Efficient synthetic-data parameterization", "Kim et al., ICML 2022",
          "Matches gradients of multi-formation images in networks trained on real data.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<IdcOptions, Idc>>();
          }};
}

}  // namespace retort::methods::gradient_matching
