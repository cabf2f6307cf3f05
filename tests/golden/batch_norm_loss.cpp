// Decoupled methods: recover/utils.py and data_synthesis.py of VILA-Lab/SRe2L.

#include "methods/decoupled/batch_norm_loss.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/str.h"
#include "methods/decoupled/image_priors.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using methods::decoupled::batch_norm_distances;
using methods::decoupled::batch_norm_loss;

void check_statistics(const GoldenFile& file, const Precision& precision,
                      const std::vector<nn::BatchStatistics>& statistics) {
  REQUIRE(statistics.size() == file.children("layers").size());
  for (std::size_t l = 0; l < statistics.size(); ++l) {
    INFO("layer " << l);
    const auto stored = [&](const std::string& name) {
      return file.tensor(str("layers/", l, "/", name), precision.dtype);
    };
    CHECK_CLOSE(statistics[l].mean, stored("batch_mean"), precision.tolerance);
    CHECK_CLOSE(statistics[l].variance, stored("batch_var"), precision.tolerance);
  }
}

void check_bn_loss(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const auto stored = [&](const std::string& name) {
    return file.tensor("outputs/" + name, precision.dtype);
  };
  const at::AutoGradMode gradients(true);
  const Tensor x = file.tensor("inputs/x", precision.dtype).requires_grad_();
  const auto network = make_stored_convnet(file, "", "net", image_shape(x));
  const auto state = read_network(file, "net", precision.dtype);

  const auto out = network->forward(state, x, {.batch_norm_statistics = true});
  CHECK_CLOSE(out.logits, stored("logits"), precision.tolerance);
  check_statistics(file, precision, out.batch_norm_statistics);

  const auto& statistics = out.batch_norm_statistics;
  const Tensor r =
      batch_norm_loss(statistics, state.buffers, file.number_or("", "first_bn_multiplier", 10));
  // The stored values of the layers do not hold the first one's factor.
  CHECK_CLOSE(batch_norm_distances(statistics, state.buffers), stored("r_feature_per_layer"),
              precision.tolerance);
  CHECK_CLOSE(r, stored("bn_total"), precision.tolerance);
  CHECK_CLOSE(torch::autograd::grad({r}, {x}, {}, /*retain_graph=*/true)[0], stored("grad_bn"),
              precision.tolerance);

  const Tensor ce = at::cross_entropy_loss(out.logits, file.stored("inputs/labels"));
  const Tensor total = ce + file.number_or("", "r_bn", 1) * r;
  const Tensor tv = methods::decoupled::total_variation(x);
  const Tensor l2 = methods::decoupled::mean_norm(x);
  CHECK_CLOSE(tv, stored("tv_l2"), precision.tolerance);
  CHECK_CLOSE(l2, stored("l2"), precision.tolerance);
  CHECK_CLOSE(torch::autograd::grad({tv}, {x})[0], stored("grad_tv"), precision.tolerance);
  CHECK_CLOSE(torch::autograd::grad({l2}, {x})[0], stored("grad_l2"), precision.tolerance);
  CHECK_CLOSE(ce, stored("ce"), precision.tolerance);
  CHECK_CLOSE(total, stored("total"), precision.tolerance);
  CHECK_CLOSE(torch::autograd::grad({total}, {x})[0], stored("grad_total"), precision.tolerance);
}

}  // namespace

void check_bn_loss(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_bn_loss(file, precision);
}

}  // namespace retort::testing::golden
