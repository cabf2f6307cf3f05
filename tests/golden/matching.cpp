// Distribution and attention matching: main_DM.py of VICO-UoE/DatasetCondensation, main_DataDAM.py
// of DataDistillation/DataDAM, main_DM.py of cvlab-yonsei/FYI.

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/kernels/convnet_outputs.h"
#include "methods/attention_matching/attention_matching.h"
#include "methods/distribution_matching/distribution_matching.h"
#include "methods/gradient_matching/gradient_matching.h"
#include "methods/matching/image_optimizer.h"
#include "tests/golden/draws.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using methods::matching::ClassPair;
using methods::matching::Lens;
using methods::matching::Loss;

struct Evaluated {
  Loss loss;
  Tensor gradient;
  nn::NetworkState state;
};

Evaluated evaluate(const GoldenFile& file, const methods::matching::Objective& objective,
                   const Precision& precision, const Tensor& synthetic, bool with_flips) {
  const at::AutoGradMode gradients(true);
  const auto network = make_stored_convnet(file, "", "net", image_shape(synthetic));
  Evaluated result;
  result.state = read_network(file, "net", precision.dtype);
  const Tensor leaf = synthetic.clone().requires_grad_();
  result.loss =
      objective.loss({*network, result.state}, stored_pairs(file, precision, leaf, with_flips));
  result.gradient = torch::autograd::grad({result.loss.total}, {leaf})[0];
  return result;
}

/// a(x) = vec(sum over channels |F|^p) at unit length.  @param maps [N,C,h,w]  @return [N,h*w]
Tensor attention(const Tensor& maps, double power) {
  return methods::attention_matching::unit_length(kernels::attention_sums(maps, power));
}

void check_attention_maps(const GoldenFile& file, const Precision& precision, const Lens& lens,
                          const std::string& half, const Tensor& images) {
  const nn::NetworkState state = lens.state.detached_clone();
  const auto result = lens.network.forward(
      state, images, {.mode = nn::Mode::Train, .logits = false, .activation_maps = true});
  for (std::size_t l = 0; l < result.activation_maps.size(); ++l) {
    INFO("layer " << l << ", " << half);
    CHECK_CLOSE(attention(result.activation_maps[l], 1),
                file.tensor(str("layers/", l, "/attention_", half), precision.dtype),
                precision.tolerance);
    for (const int power : {2, 4}) {
      const std::string name = str("outputs/attention_", half, "_layer", l, "_p", power);
      if (!file.has(name)) continue;
      CHECK_CLOSE(attention(result.activation_maps[l], power), file.tensor(name, precision.dtype),
                  precision.tolerance);
    }
  }
}

}  // namespace

namespace {

/// Mean embeddings of both halves, and the loss class by class, where the file has them.
void check_class_means(const GoldenFile& file, const Precision& precision,
                       const Tensor& synthetic) {
  const auto pairs = stored_pairs(file, precision, synthetic);
  const auto network = make_stored_convnet(file, "", "net", image_shape(synthetic));
  const nn::NetworkState state = read_network(file, "net", precision.dtype);
  const auto mean_embeddings = [&](const methods::matching::Joined& half) {
    const auto result = network->forward(state, half.images, {.mode = nn::Mode::Train});
    return methods::matching::class_means(result.embedding, half.counts);
  };
  const Tensor real = mean_embeddings(methods::matching::join_real(pairs));
  const Tensor ours = mean_embeddings(methods::matching::join_synthetic(pairs));
  const auto check = [&](const std::string& name, const Tensor& value) {
    if (!file.has("outputs/" + name)) return;
    CHECK_CLOSE(value, file.tensor("outputs/" + name, precision.dtype), precision.tolerance);
  };
  check("mean_embed_real", real);
  check("mean_embed_syn", ours);
  check("loss_per_class", (real - ours).square().sum(1));
}

}  // namespace

void check_dm(const GoldenFile& file) {
  if (file.text_or("", "reduction", "sum") != "sum") {
    file.skip("", "reduction other than sum");
    return;
  }
  for (const Precision& precision : precisions()) {
    INFO(precision.name);
    const Tensor synthetic = file.tensor("inputs/syn", precision.dtype);
    const Evaluated result = evaluate(file, methods::distribution_matching::DistributionObjective(),
                                      precision, synthetic, false);
    CHECK_CLOSE(result.loss.total, file.tensor("outputs/loss", precision.dtype),
                precision.tolerance);
    CHECK_CLOSE(result.gradient, file.tensor("outputs/grad_syn", precision.dtype),
                precision.tolerance);
    check_class_means(file, precision, synthetic);
    if (file.has("outputs/syn_after_step")) {
      methods::matching::ImageOptimizer optimizer("sgd", file.number_or("", "lr_img", 1.0),
                                                  file.number_or("", "momentum", 0.5));
      const Tensor stepped = synthetic.clone();
      optimizer.step(stepped, result.gradient);
      CHECK_CLOSE(stepped, file.tensor("outputs/syn_after_step", precision.dtype),
                  precision.tolerance);
    }
    if (file.has("outputs/buffers_after")) {
      const Tensors after = read_buffers(file, "outputs/buffers_after", precision.dtype);
      REQUIRE(after.size() == result.state.buffers.size());
      for (std::size_t i = 0; i < after.size(); ++i) {
        CHECK_CLOSE(result.state.buffers[i], after[i], precision.tolerance);
      }
    }
  }
}

void check_fyi_dm(const GoldenFile& file) {
  for (const Precision& precision : precisions()) {
    INFO("dm, " << precision.name);
    const Evaluated result = evaluate(file, methods::distribution_matching::DistributionObjective(),
                                      precision, file.tensor("inputs/syn", precision.dtype), true);
    CHECK_CLOSE(result.loss.total, file.tensor("dm/loss", precision.dtype), precision.tolerance);
    CHECK_CLOSE(result.gradient, file.tensor("dm/grad_syn", precision.dtype), precision.tolerance);
  }
}

void check_datadam(const GoldenFile& file) {
  const double lambda = file.number_or("", "task_balance", 0.01);
  for (const Precision& precision : precisions()) {
    INFO(precision.name);
    const Tensor synthetic = file.tensor("inputs/syn", precision.dtype);
    const methods::attention_matching::AttentionObjective objective(1.0, lambda);
    const Evaluated result = evaluate(file, objective, precision, synthetic, false);
    const auto stored = [&](const std::string& name) {
      return file.tensor("outputs/" + name, precision.dtype);
    };
    CHECK_CLOSE(result.loss.total, stored("loss"), precision.tolerance);
    CHECK_CLOSE(result.gradient, stored("grad_syn"), precision.tolerance);
    const auto network = make_stored_convnet(file, "", "net", image_shape(synthetic));
    const nn::NetworkState state = read_network(file, "net", precision.dtype);
    const auto pairs = stored_pairs(file, precision, synthetic);
    check_attention_maps(file, precision, {*network, state}, "real",
                         methods::matching::join_real(pairs).images);
    check_attention_maps(file, precision, {*network, state}, "syn",
                         methods::matching::join_synthetic(pairs).images);
    const auto part = [&](const std::string& name) {
      for (const auto& [key, value] : result.loss.parts) {
        if (key == name) return at::scalar_tensor(value, at::kDouble);
      }
      throw Error("no loss part " + name);
    };
    CHECK_CLOSE(part("attention"), stored("attention_loss"), precision.tolerance);
    const Tensor layers = stored("layer_losses_x100");
    CHECK_CLOSE(part("attention"), layers.slice(0, 0, layers.size(0) - 1).sum(),
                precision.tolerance);
    CHECK_CLOSE(part("embedding"), stored("embedding_loss"), precision.tolerance);
  }
}

void check_dc(const GoldenFile& file) {
  using methods::gradient_matching::GradientObjective;
  using methods::gradient_matching::Metric;
  const std::vector<std::pair<std::string, Metric>> metrics{
      {"ours", Metric::Rows}, {"mse", Metric::Squared}, {"cos", Metric::Cosine}};
  std::int64_t compared = 0;
  for (const Precision& precision : precisions()) {
    const Tensor synthetic = file.tensor("inputs/syn", precision.dtype);
    for (const auto& [name, metric] : metrics) {
      if (!file.has(name)) continue;
      ++compared;
      INFO(name << ", " << precision.name);
      const GradientObjective objective(metric);
      const Evaluated result = evaluate(file, objective, precision, synthetic, false);
      CHECK_CLOSE(result.loss.total, file.tensor(name + "/loss", precision.dtype),
                  precision.tolerance);
      CHECK_CLOSE(result.gradient, file.tensor(name + "/grad_syn", precision.dtype),
                  precision.tolerance);
      const auto network = make_stored_convnet(file, "", "net", image_shape(synthetic));
      const Tensor per_class = file.tensor(name + "/loss_per_class", precision.dtype);
      for (const ClassPair& pair : stored_pairs(file, precision, synthetic)) {
        const Loss loss = objective.loss({*network, result.state}, {pair});
        CHECK_CLOSE(loss.total, per_class[pair.class_index], precision.tolerance);
      }
    }
  }
  CHECK(compared > 0);
  check_dc_outputs(file);
}

}  // namespace retort::testing::golden
