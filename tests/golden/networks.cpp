// Networks of VICO-UoE/DatasetCondensation, networks.py: layout, outputs, input gradients.

#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

/// Compares what is stored for one variant in one mode.
/// @param suffix "", "_eval" or "_train"
void check_variant(const GoldenFile& file, const std::string& variant, const std::string& suffix,
                   const Precision& precision) {
  INFO(variant << suffix << ", " << precision.name);
  const std::string own_input = variant + "/x";
  const Tensor x = file.tensor(file.has(own_input) ? own_input : "inputs/x", precision.dtype);
  const auto network = make_stored_convnet(file, variant, variant + "/net", image_shape(x));
  const auto state = read_network(file, variant + "/net", precision.dtype);
  const nn::Mode mode = suffix == "_train" ? nn::Mode::Train : nn::Mode::Eval;
  const auto stored = [&](const std::string& name) {
    return file.tensor(variant + "/" + name + suffix, precision.dtype);
  };

  const at::AutoGradMode gradients(true);
  const Tensor leaf = x.detach().requires_grad_();
  const auto out = network->forward(state, leaf, {.mode = mode});
  CHECK_CLOSE(out.logits, stored("logits"), precision.tolerance);
  if (file.has(variant + "/embedding" + suffix)) {
    CHECK_CLOSE(out.embedding, stored("embedding"), precision.tolerance);
  }
  if (file.has(variant + "/grad_x" + suffix)) {
    const Tensor weight = file.tensor("inputs/weight", precision.dtype);
    const Tensor gradient = torch::autograd::grad({out.logits}, {leaf}, {weight})[0];
    CHECK_CLOSE(gradient, stored("grad_x"), precision.tolerance);
  }
  if (mode == nn::Mode::Train && file.has(variant + "/buffers_after_train")) {
    const Tensors after = read_buffers(file, variant + "/buffers_after_train", precision.dtype);
    REQUIRE(state.buffers.size() == after.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
      INFO(network->buffers()[i].name);
      CHECK_CLOSE(state.buffers[i], after[i], precision.tolerance);
    }
  }
}

void check_buffer_names(const nn::Network& network, const GoldenFile& file,
                        const std::string& group) {
  std::vector<std::string> ours;
  for (const auto& buffer : network.buffers()) ours.push_back(buffer.name);
  std::sort(ours.begin(), ours.end());
  CHECK(ours == file.children(group));
}

/// The formula of the file's `note`: a linear congruence in the flat index i, shifted by the
/// number k of the tensor.  @return 2u - 1 in [-1, 1), float64
Tensor formula(const std::vector<std::int64_t>& shape, std::uint32_t k) {
  Tensor values = at::empty(shape, at::kDouble);
  auto* p = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    // Unsigned arithmetic is modulo 2^32, as the formula wants.
    const std::uint32_t u = std::uint32_t(i) * 2654435761U + (k + 1) * 40503U;
    p[i] = 2 * (double(u) / 4294967296.0) - 1;
  }
  return values;
}

nn::NetworkState formula_state(const nn::Network& network) {
  nn::NetworkState state;
  for (const auto& info : network.parameters()) {
    Tensor values = formula(info.shape, std::uint32_t(state.parameters.size()));
    if (info.shape.size() > 1) {
      values *= 1.5 / std::sqrt(double(values.numel()) / double(info.shape[0]));
    } else {
      values *= 0.1;
      if (info.name.ends_with("weight")) values += 1;
    }
    state.parameters.push_back(values);
  }
  for (const auto& info : network.buffers()) {
    Tensor values = 0.1 * formula(info.shape, std::uint32_t(1000 + state.buffers.size()));
    if (info.name.ends_with("running_var")) values += 1;
    state.buffers.push_back(values);
  }
  return state;
}

nn::NetworkState to(const nn::NetworkState& state, at::ScalarType dtype) {
  nn::NetworkState copy = state.detached_clone();
  for (auto& p : copy.parameters) p = p.to(dtype);
  for (auto& b : copy.buffers) b = b.to(dtype);
  return copy;
}

/// @param model "ResNet18BN_AP_gray": the reference's name and the name of the input
void check_large_network(const GoldenFile& file, const std::string& model) {
  INFO(model);
  const auto split = model.rfind('_');
  REQUIRE(split != std::string::npos);
  const Tensor x = file.tensor("inputs/" + model.substr(split + 1), at::kDouble);
  const std::int64_t classes = file.shape(model + "/logits_eval").at(1);
  const auto network = nn::make_network(model.substr(0, split), image_shape(x), classes);
  CHECK(network->parameter_count() == file.integer(model, "num_params"));
  if (file.has(model + "/names")) check_layout(*network, file, model);

  const nn::NetworkState exact = formula_state(*network);
  // Up to 20 layers lie between: the tolerances that come with these files.
  for (const auto& precision : precisions(1e-9, 1e-4)) {
    INFO(precision.name);
    for (const auto mode : {nn::Mode::Eval, nn::Mode::Train}) {
      const std::string stored =
          model + (mode == nn::Mode::Eval ? "/logits_eval" : "/logits_train");
      INFO(stored);
      if (!file.has(stored)) continue;
      const auto state = to(exact, precision.dtype);
      const auto out = network->forward(state, x.to(precision.dtype), {.mode = mode});
      CHECK_CLOSE(out.logits, file.tensor(stored, precision.dtype), precision.tolerance);
    }
  }
}

}  // namespace

void check_convnet_variants(const GoldenFile& file) {
  std::int64_t compared = 0;
  for (const auto& variant : file.children("")) {
    if (!file.has(variant + "/net")) continue;
    const std::string own_input = variant + "/x";
    const Tensor x = file.tensor(file.has(own_input) ? own_input : "inputs/x", at::kDouble);
    const auto network = make_stored_convnet(file, variant, variant + "/net", image_shape(x));
    INFO(variant);
    check_layout(*network, file, variant + "/net");
    check_buffer_names(*network, file, variant + "/net/buffers");
    for (const std::string suffix : {"", "_eval", "_train"}) {
      if (!file.has(variant + "/logits" + suffix)) continue;
      for (const auto& precision : precisions()) check_variant(file, variant, suffix, precision);
      ++compared;
    }
  }
  CHECK(compared > 0);
}

void check_networks_large(const GoldenFile& file) {
  const at::NoGradGuard no_gradients;
  std::int64_t compared = 0;
  for (const auto& model : file.children("")) {
    if (!file.has(model + "/logits_eval")) continue;
    check_large_network(file, model);
    ++compared;
  }
  CHECK(compared > 0);
}

}  // namespace retort::testing::golden
