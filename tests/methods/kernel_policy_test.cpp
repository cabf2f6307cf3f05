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

/// The synthetic images after 100 iterations.
Tensor images_after_100(const std::string& method, kernels::Policy policy, bool onednn) {
  const Restore restore;
  kernels::set_policy(policy);
  at::globalContext().setUserEnabledMkldnn(onednn);
  methods::RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(5)};
  const auto m = small_method(method, "100", {{"net", "ConvNet-3-w64"}});
  m->initialize(run);
  for (std::int64_t i = 0; i < m->iterations(); ++i) m->update(i);
  return m->snapshot().images;
}

double distance(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace

TEST_CASE("100 iterations on our kernels stay as close to the reference as another summation order",
          "[methods][kernels][slow]") {
  using kernels::Policy;
  for (const std::string method : {"dm", "gm"}) {
    INFO(method);
    const Tensor reference = images_after_100(method, Policy::Reference, true);
    // LibTorch's own convolution without oneDNN adds the same products in another order.
    const Tensor reordered = images_after_100(method, Policy::Reference, false);
    kernels::reset_counters();
    const Tensor fast = images_after_100(method, Policy::Fast, true);
    if (kernels::counters().convnet_fast == 0) {
      WARN("SKIPPED: no AVX2, our kernels do not run here");
      return;
    }
    const double expected = distance(reordered, reference);
    const double found = distance(fast, reference);
    INFO("reordered " << expected << ", ours " << found);
    CHECK(expected > 0);
    CHECK(found > 0);
    // One ReLU that falls on its other side sets both apart, sooner or later by chance.
    CHECK(found < 10 * expected);
  }
}
