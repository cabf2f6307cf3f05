// Gradient matching: main.py of VICO-UoE/DatasetCondensation (the outer loop and what one class's
// distance is made of), condense.py of snu-mllab/Efficient-Dataset-Condensation.

#include <algorithm>
#include <map>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/state_file.h"
#include "lib/synth/parametrization.h"
#include "lib/train/network_source.h"
#include "methods/gradient_matching/gradient_matching.h"
#include "methods/matching/features.h"
#include "methods/matching/image_optimizer.h"
#include "tests/golden/draws.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using methods::gradient_matching::differentiable_gradients;
using methods::gradient_matching::gradient_distance;
using methods::gradient_matching::GradientObjective;
using methods::gradient_matching::Metric;
using methods::gradient_matching::real_gradients;
using methods::gradient_matching::Scope;
using methods::matching::ClassPair;
using methods::matching::ImageOptimizer;

Metric parse_stored_metric(const GoldenFile& file, const std::string& name, bool of_idc) {
  const std::map<std::string, Metric> known{{"ours", Metric::Rows},
                                            {"mse", Metric::Squared},
                                            {"l1", Metric::Absolute},
                                            {"l1_mean", Metric::AbsoluteMean},
                                            {"cos", of_idc ? Metric::Rows : Metric::Cosine}};
  const auto found = known.find(name);
  if (found == known.end()) throw StorageError(str(file.name(), ": unknown metric '", name, "'"));
  return found->second;
}

Tensor labels_of(std::int64_t label, const Tensor& images) {
  return at::full({images.size(0)}, label, at::kLong);
}

/// Rows of class c.
Tensor rows_of(const Tensor& images, std::int64_t c, std::int64_t classes) {
  const std::int64_t n = images.size(0) / classes;
  return images.slice(0, c * n, (c + 1) * n);
}

struct StoredNetwork {
  std::shared_ptr<const nn::Network> network;
  nn::NetworkState state;
};

/// Kim et al.'s ConvNet, which registers all convolutions before all norms; ours has them block by
/// block.
StoredNetwork read_idc_convnet(const GoldenFile& file, const std::string& group,
                               nn::ImageShape input, at::ScalarType dtype) {
  const auto layout = read_layout(file, group);
  const nn::NetworkState stored = read_network(file, group, dtype);
  std::map<std::string, Tensor> by_name;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    by_name[layout[i].name] = stored.parameters[i];
  }
  nn::ConvNetConfig config;
  config.width = by_name.at("layers.conv.0.weight").size(0);
  config.depth = std::count_if(layout.begin(), layout.end(), [](const auto& info) {
    return info.name.starts_with("layers.conv.") && info.name.ends_with(".weight");
  });
  const auto norm = by_name.find("layers.norm.0.weight");
  const std::string said = file.text_or("", "norm", "");
  if (norm == by_name.end()) {
    config.norm = nn::Norm::None;
  } else if (!stored.buffers.empty()) {
    config.norm = nn::Norm::Batch;
  } else if (norm->second.dim() == 3) {
    config.norm = nn::Norm::Layer;
  } else {
    config.norm = said == "groupnorm" ? nn::Norm::Group : nn::Norm::Instance;
  }
  StoredNetwork result;
  result.network = nn::make_convnet(config, input, by_name.at("classifier.bias").size(0));
  result.state.buffers = stored.buffers;
  for (std::int64_t d = 0; d < config.depth; ++d) {
    for (const std::string layer : {"conv", "norm"}) {
      if (layer == "norm" && config.norm == nn::Norm::None) continue;
      for (const std::string part : {"weight", "bias"}) {
        result.state.parameters.push_back(by_name.at(str("layers.", layer, ".", d, ".", part)));
      }
    }
  }
  result.state.parameters.push_back(by_name.at("classifier.weight"));
  result.state.parameters.push_back(by_name.at("classifier.bias"));
  return result;
}

Tensor mean_cross_entropy(const nn::Network& network, const nn::NetworkState& state,
                          const Tensor& images, std::int64_t label) {
  const at::NoGradGuard no_grad;
  return -network.forward(state, images).logits.log_softmax(1).select(1, label).mean();
}

/// Every parameter's distance by rows; 1-D ones have none.
Tensor distance_by_parameter(const Tensors& g, const Tensors& h) {
  Tensors shares;
  for (std::size_t i = 0; i < g.size(); ++i) {
    shares.push_back(g[i].dim() < 2 ? at::zeros({}, g[i].options())
                                    : gradient_distance({g[i]}, {h[i]}, Metric::Rows).detach());
  }
  return at::stack(shares);
}

}  // namespace

void check_dc_outputs(const GoldenFile& file) {
  for (const Precision& precision : precisions()) {
    INFO("outputs, " << precision.name);
    const at::AutoGradMode gradients(true);
    const Tensor synthetic = file.tensor("inputs/syn", precision.dtype);
    const auto pairs = stored_pairs(file, precision, synthetic);
    const auto network = make_stored_convnet(file, "", "net", image_shape(synthetic));
    const nn::NetworkState state = read_network(file, "net", precision.dtype);
    const auto check = [&](const std::string& name, const Tensor& value) {
      if (!file.has("outputs/" + name)) return;
      INFO(name);
      CHECK_CLOSE(value, file.tensor("outputs/" + name, precision.dtype), precision.tolerance);
    };
    Tensors real_losses;
    Tensors losses;
    for (const ClassPair& pair : pairs) {
      real_losses.push_back(mean_cross_entropy(*network, state, pair.real, pair.class_index));
      losses.push_back(mean_cross_entropy(*network, state, pair.synthetic, pair.class_index));
    }
    check("ce_real", at::stack(real_losses));
    check("ce_syn", at::stack(losses));
    const ClassPair& first = pairs.front();
    const Tensors g = real_gradients({*network, state}, first.real, labels_of(0, first.real));
    const Tensors h =
        differentiable_gradients({*network, state}, first.synthetic, labels_of(0, first.synthetic));
    check("grad_real_class0_flat", nn::flatten(g));
    check("grad_syn_class0_flat", nn::flatten(h).detach());
    check("ours_per_tensor_class0", distance_by_parameter(g, h));
  }
}

namespace {

/// A source whose first network is the file's.
std::unique_ptr<train::NetworkSource> stored_source(const GoldenFile& file,
                                                    std::shared_ptr<const nn::Network> network,
                                                    const nn::NetworkState& state) {
  train::SyntheticNetworksOptions options;
  options.period = file.integer_or("", "outer_loop", 1);
  options.epochs = file.integer_or("", "inner_loop", 1);
  options.batch_size = file.integer_or("", "batch_train", 256);
  options.lr = file.number_or("", "lr_net", 0.01);
  options.momentum = file.number_or("", "momentum_net", 0);
  auto source = train::synthetic_networks(std::move(network), options, Rng(0));
  storage::StateWriter begin;
  begin.integer("network_source/iteration", 0);
  begin.tensors("network_source/parameters", state.parameters);
  begin.tensors("network_source/buffers", state.buffers);
  source->load_state(storage::StateReader(begin));
  return source;
}

void check_outer_loop_at(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const at::AutoGradMode gradients(true);
  const Tensor real = file.tensor("inputs/real", precision.dtype);
  const Tensor images = file.tensor("inputs/syn", precision.dtype).clone();
  const std::int64_t classes = real.size(0);
  const std::shared_ptr<const nn::Network> network =
      make_stored_convnet(file, "", "net", image_shape(images));
  const auto source = stored_source(file, network, read_network(file, "net", precision.dtype));
  const GradientObjective objective(
      parse_stored_metric(file, file.text_or("", "metric", "ours"), false));
  ImageOptimizer optimizer("sgd", file.number_or("", "lr_img", 0.1),
                           file.number_or("", "momentum", 0.5));
  const Tensor classes_of =
      at::arange(classes, at::kLong).repeat_interleave(images.size(0) / classes);
  const auto synthetic = [&] {
    return data::LabelledImages{images.clone(), data::HardLabels{classes_of}};
  };
  const Tensor gradient_steps = file.tensor("outputs/grad_syn_steps", precision.dtype);
  const Tensor image_steps = file.tensor("outputs/syn_after_steps", precision.dtype);
  double loss_sum = 0;
  for (std::int64_t t = 0; t < image_steps.size(0); ++t) {
    INFO("matching step " << t);
    nn::NetworkState& state = source->at(t, synthetic);
    if (file.has("inputs/bn_real")) {
      methods::matching::refresh_statistics(
          *network, state, file.tensor("inputs/bn_real", precision.dtype).flatten(0, 1));
    }
    const Tensor leaf = images.clone().requires_grad_();
    std::vector<ClassPair> pairs;
    for (std::int64_t c = 0; c < classes; ++c) {
      pairs.push_back({c, real[c], rows_of(leaf, c, classes)});
    }
    const auto loss = objective.loss({*network, state}, pairs);
    loss_sum += loss.total.item<double>();
    const Tensor gradient = torch::autograd::grad({loss.total}, {leaf})[0];
    CHECK_CLOSE(gradient, gradient_steps[t], precision.tolerance);
    optimizer.step(images, gradient);
    CHECK_CLOSE(images, image_steps[t], precision.tolerance);
  }
  CHECK(loss_sum == Approx(file.number("outputs/loss_sum")).epsilon(precision.tolerance));
  const nn::NetworkState& last = source->at(image_steps.size(0) - 1, synthetic);
  CHECK_CLOSE(nn::flatten(last.parameters), file.tensor("outputs/net_after", precision.dtype),
              precision.tolerance);
  const Tensors buffers = read_buffers(file, "outputs/buffers_after", precision.dtype);
  REQUIRE(buffers.size() == last.buffers.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    CHECK_CLOSE(last.buffers[i], buffers[i], precision.tolerance);
  }
}

}  // namespace

void check_dc_outer_loop(const GoldenFile& file) {
  // Seven updates follow one another: in float32 the tolerance that comes with these files.
  for (const Precision& precision : precisions(1e-10, 1e-4)) check_outer_loop_at(file, precision);
}

namespace {

/// @param name "grad_mse", "grad_l1_all_tensors", ...
void check_gradient_loss(const GoldenFile& file, const std::string& name) {
  const std::string suffix = "_all_tensors";
  const bool all = name.ends_with(suffix);
  const std::string start = "grad_";
  const std::string metric_name =
      name.substr(start.size(), name.size() - start.size() - (all ? suffix.size() : 0));
  const Metric metric = parse_stored_metric(file, metric_name, true);
  // The gradient of an absolute value is a sign.
  const double float32 = metric_name.starts_with("l1") ? 1e-4 : 1e-5;
  for (const Precision& precision : precisions(1e-10, float32)) {
    INFO(name << ", " << precision.name);
    const at::AutoGradMode gradients(true);
    const Tensor real = file.tensor("inputs/real", precision.dtype);
    const Tensor leaf = file.tensor("inputs/syn", precision.dtype).requires_grad_();
    const auto stored = read_idc_convnet(file, "net", image_shape(real), precision.dtype);
    const methods::matching::Lens lens{*stored.network, stored.state};
    const Tensor loss = gradient_distance(
        real_gradients(lens, real, file.tensor("inputs/label_real", at::kLong)),
        differentiable_gradients(lens, leaf, file.tensor("inputs/label_syn", at::kLong)), metric,
        all ? Scope::All : Scope::Convolutions);
    CHECK_CLOSE(loss, file.tensor(name + "/loss", precision.dtype), precision.tolerance);
    CHECK_CLOSE(torch::autograd::grad({loss}, {leaf})[0],
                file.tensor(name + "/grad_syn", precision.dtype), precision.tolerance);
  }
}

}  // namespace

void check_idc_matchloss(const GoldenFile& file) {
  std::int64_t compared = 0;
  for (const std::string& name : file.children("")) {
    if (!name.starts_with("grad_")) continue;
    check_gradient_loss(file, name);
    ++compared;
  }
  CHECK(compared > 0);
}

namespace {

void check_class_loop_at(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const at::AutoGradMode gradients(true);
  // The file's augmentation is the normalisation alone.
  const auto normalised = [](const Tensor& x) { return (x - 0.5) / 0.25; };
  const Tensor real = file.tensor("inputs/real", precision.dtype);
  const Tensor images = file.tensor("inputs/syn", precision.dtype).clone();
  const std::int64_t classes = real.size(0);
  const auto stored = read_idc_convnet(file, "net", image_shape(images), precision.dtype);
  const GradientObjective objective(
      parse_stored_metric(file, file.text_or("", "metric", "mse"), true), Scope::Convolutions);
  const auto decoder =
      synth::make_multi_formation(file.integer_or("", "factor", 1), "single",
                                  at::full({images.size(1)}, 0.5, at::TensorOptions(at::kDouble)));
  ImageOptimizer optimizer("class-loop", file.number_or("", "lr_img", 0.005),
                           file.number_or("", "momentum", 0.5), classes);
  const Tensor steps = file.tensor("outputs/syn_after_steps", precision.dtype);
  const Tensor losses = file.tensor("outputs/loss_steps", at::kDouble);
  for (std::int64_t pass = 0; pass < steps.size(0) / classes; ++pass) {
    optimizer.catch_up(images);
    const Tensor leaf = images.clone().requires_grad_();
    Tensor total;
    for (std::int64_t c = 0; c < classes; ++c) {
      INFO("pass " << pass << ", class " << c);
      const std::int64_t step = pass * classes + c;
      if (step > 0) {
        // Where the loop has brought this class just before its own step.
        CHECK_CLOSE(rows_of(images, c, classes), rows_of(steps[step - 1], c, classes),
                    precision.tolerance);
      }
      const Tensor decoded = decoder->decode(rows_of(leaf, c, classes));
      const ClassPair pair{c, normalised(real[c]), normalised(decoded)};
      const Tensor loss = objective.loss({*stored.network, stored.state}, {pair}).total;
      CHECK(loss.item<double>() ==
            Approx(losses[step].item<double>()).epsilon(precision.tolerance));
      total = total.defined() ? total + loss : loss;
    }
    optimizer.step(images, torch::autograd::grad({total}, {leaf})[0]);
    CHECK_CLOSE(images, steps[(pass + 1) * classes - 1], precision.tolerance);
  }
}

}  // namespace

void check_idc_class_loop(const GoldenFile& file) {
  for (const Precision& precision : precisions()) check_class_loop_at(file, precision);
}

}  // namespace retort::testing::golden
