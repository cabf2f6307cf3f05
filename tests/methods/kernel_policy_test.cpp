#include <algorithm>
#include <tuple>
#include <vector>

#include <ATen/Context.h>

#include "lib/kernels/policy.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

struct Restore {
  ~Restore() {
    kernels::set_policy(kernels::Policy::Fast);
    at::globalContext().setUserEnabledMkldnn(true);
  }
};

struct Trajectory {
  std::string method;
  std::string net;
  std::string iterations;
  std::uint64_t seed;
  std::string image_optimizer = "sgd";  ///< adam's first steps have the signs of the gradient

  /// The synthetic images at its end.
  Tensor images(kernels::Policy policy, bool onednn = true) const {
    const Restore restore;
    kernels::set_policy(policy);
    at::globalContext().setUserEnabledMkldnn(onednn);
    methods::RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(seed)};
    const auto m =
        small_method(method, iterations, {{"net", net}, {"image-optimizer", image_optimizer}});
    m->initialize(run);
    for (std::int64_t i = 0; i < m->iterations(); ++i) m->update(i);
    return m->snapshot().images;
  }
};

double distance(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

// The first ReLU that falls on its other side sets two trajectories apart for good. With GroupNorm,
// where LibTorch's own orders of summation part within ten iterations, one is looked at.
TEST_CASE("iterations on our kernels end where the reference does, but by rounding",
          "[methods][kernels]") {
  const std::string method = GENERATE("dm", "gm");
  const std::vector<std::tuple<std::string, std::string, std::vector<std::uint64_t>>> cases{
      {"ConvNet-3-w32", "10", {5}}, {"ConvNet-3-w32-GN", "1", {5, 6, 7, 8, 9}}};
  for (const auto& [net, iterations, seeds] : cases) {
    for (const std::uint64_t seed : seeds) {
      INFO(method << ", " << net << ", seed " << seed);
      const Trajectory run{method, net, iterations, seed};
      kernels::reset_counters();
      const Tensor ours = run.images(kernels::Policy::Fast);
      CHECK(kernels::counters().convnet_fast > 0);
      CHECK((kernels::counters().gradient_fast > 0) == (method == "gm"));
      kernels::reset_counters();
      const double found = distance(ours, run.images(kernels::Policy::Reference));
      CHECK(kernels::counters().convnet_fallback > 0);
      CHECK((kernels::counters().gradient_fallback > 0) == (method == "gm"));
      CHECK(found > 0);  // another path
      CHECK(found < 1e-5);
    }
  }
}

// Minutes, so run by name: how far 100 iterations part at the papers' width, in medians since the
// trajectories are chaotic. LibTorch's own convolution without oneDNN adds the same products in
// another order.
TEST_CASE("100 iterations on our kernels stay as close to the reference as another summation order",
          "[.closeness]") {
  for (const std::string method : {"dm", "gm"}) {
    std::vector<double> reordered;
    std::vector<double> ours;
    for (const std::uint64_t seed : {5, 6, 7, 8, 9}) {
      const Trajectory hundred{method, "ConvNet-3", "100", seed, method == "gm" ? "adam" : "sgd"};
      const Tensor reference = hundred.images(kernels::Policy::Reference);
      reordered.push_back(distance(hundred.images(kernels::Policy::Reference, false), reference));
      ours.push_back(distance(hundred.images(kernels::Policy::Fast), reference));
      WARN(method << " seed " << seed << ": reordered " << reordered.back() << ", ours "
                  << ours.back());
    }
    INFO(method << ", medians: reordered " << median(reordered) << ", ours " << median(ours));
    CHECK(median(ours) < 2 * median(reordered));
  }
}
