#include <limits>
#include <stdexcept>

#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/kernels/cuda_self_check.h"
#include "tests/kernels/cuda/host_backend.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using kernels::CudaBackend;
using kernels::self_checked;

namespace {

using Names = std::vector<std::string>;

struct Checked {
  CudaBackend backend;
  Names warnings;
};

Checked checked(const CudaBackend& backend) {
  Checked result;
  const log::Sink previous = log::set_sink([&](log::Level level, const std::string& text) {
    if (level == log::Level::Warn) result.warnings.push_back(text);
  });
  result.backend = self_checked(backend, at::kCPU);
  log::set_sink(previous);
  return result;
}

/// One entry a little further off than rounding: 1e-3 of the largest.
void spoil(const Tensor& t) {
  const Tensor last = t.flatten().narrow(0, t.numel() - 1, 1);
  last.add_(1e-3 * (t.abs().max() + 1));
}

/// Puts the host's function in that place, its result spoiled.
template <class Parameters,
          Tensor (*CudaBackend::*kMember)(const Tensor&, const std::vector<Parameters>&)>
void spoil_kernel(CudaBackend& backend) {
  backend.*kMember = [](const Tensor& x, const std::vector<Parameters>& parameters) {
    const Tensor y = (host_backend().*kMember)(x, parameters);
    spoil(y);
    return y;
  };
}

struct Breakage {
  const char* name;
  void (*apply)(CudaBackend& backend);
};

const std::vector<Breakage> kBreakages = {
    {"norm_relu_pool",
     [](CudaBackend& b) {
       b.norm_relu_pool = [](const Tensor& x, const Tensor& w, const Tensor& bias, double eps) {
         const auto output = host_backend().norm_relu_pool(x, w, bias, eps);
         spoil(output.y);
         return output;
       };
     }},
    {"norm_relu_pool_gradient",
     [](CudaBackend& b) {
       b.norm_relu_pool_gradient = [](const Tensor& x, const Tensor& w, const Tensor& bias,
                                      const kernels::NormReluPoolOutput& output, const Tensor& gy) {
         const auto g = host_backend().norm_relu_pool_gradient(x, w, bias, output, gy);
         spoil(g.bias);
         return g;
       };
     }},
    {"color", &spoil_kernel<kernels::cuda::ColorParameters, &CudaBackend::color>},
    {"crop", &spoil_kernel<kernels::cuda::CropParameters, &CudaBackend::crop>},
    {"cutout", &spoil_kernel<kernels::cuda::CutoutParameters, &CudaBackend::cutout>},
    {"flip", &spoil_kernel<kernels::cuda::FlipParameters, &CudaBackend::flip>},
    {"resample", &spoil_kernel<kernels::cuda::ResampleParameters, &CudaBackend::resample>},
    {"resample_gradient",
     &spoil_kernel<kernels::cuda::ResampleParameters, &CudaBackend::resample_gradient>},
    {"sgd_step",
     [](CudaBackend& b) {
       b.sgd_step = [](const Tensor& w, const Tensor& velocity, const Tensor& g,
                       const kernels::cuda::SgdStep& step) {
         host_backend().sgd_step(w, velocity, g, step);
         if (velocity.defined()) spoil(velocity);
       };
     }},
    {"adam_step", [](CudaBackend& b) {
       b.adam_step = [](const Tensor& w, const Tensor& first, const Tensor& second, const Tensor& g,
                        const kernels::cuda::AdamStep& step) {
         host_backend().adam_step(w, first, second, g, step);
         spoil(second);
       };
     }}};

}  // namespace

TEST_CASE("the self-check keeps a backend that is right, without a word", "[kernels][device]") {
  const Checked result = checked(host_backend());
  INFO(join(result.warnings, "; "));
  CHECK(left_out(result.backend).empty());
  CHECK(result.warnings.empty());
}

TEST_CASE("the self-check leaves out the one function that is wrong, and says so",
          "[kernels][device]") {
  for (const Breakage& breakage : kBreakages) {
    INFO(breakage.name);
    CudaBackend broken = host_backend();
    breakage.apply(broken);
    const Checked result = checked(broken);
    CHECK(left_out(result.backend) == Names{breakage.name});
    REQUIRE(result.warnings.size() == 1);
    CHECK_THAT(result.warnings[0], Contains(std::string("kernel '") + breakage.name + "' gives ") &&
                                       Contains(" where ") &&
                                       Contains(" is right; LibTorch computes in its place"));
  }
}

TEST_CASE("the self-check names both numbers", "[kernels][device]") {
  CudaBackend broken = host_backend();
  broken.flip = [](const Tensor& x, const std::vector<kernels::cuda::FlipParameters>&) {
    return at::full_like(x, 123.5);
  };
  const Checked result = checked(broken);
  REQUIRE(result.warnings.size() == 1);
  // Furthest from 123.5 is the smallest value, which is a normal number.
  CHECK_THAT(result.warnings[0], Contains("kernel 'flip' gives 123.5 where -"));
}

TEST_CASE("the self-check leaves out functions that throw, give no number or another shape",
          "[kernels][device]") {
  CudaBackend broken = host_backend();
  broken.crop = [](const Tensor&, const std::vector<kernels::cuda::CropParameters>&) -> Tensor {
    throw std::runtime_error("was not launched: no image");
  };
  broken.cutout = [](const Tensor& x, const std::vector<kernels::cuda::CutoutParameters>& p) {
    const Tensor y = host_backend().cutout(x, p);
    y.flatten()[0] = std::numeric_limits<double>::quiet_NaN();
    return y;
  };
  broken.resample = [](const Tensor& x, const std::vector<kernels::cuda::ResampleParameters>&) {
    return x.narrow(0, 0, 1);
  };
  broken.adam_step = [](const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const kernels::cuda::AdamStep&) { TORCH_CHECK(false, "no such device"); };
  const Checked result = checked(broken);
  CHECK(left_out(result.backend) == Names{"crop", "cutout", "resample", "adam_step"});
  REQUIRE(result.warnings.size() == 4);
  CHECK_THAT(result.warnings[0], Contains("'crop' throws: was not launched: no image"));
  CHECK_THAT(result.warnings[1], Contains("'cutout' gives nan where "));
  CHECK_THAT(result.warnings[2], Contains("gives the shape [1, 3, 16, 16] where [3, 3, 16, 16]"));
  CHECK_THAT(result.warnings[3],
             Contains("'adam_step' throws: no such device") && !Contains("frame #"));
}

TEST_CASE("the self-check sees parameters of one image given to all", "[kernels][device]") {
  CudaBackend broken = host_backend();
  broken.color = [](const Tensor& x, const std::vector<kernels::cuda::ColorParameters>& p) {
    return host_backend().color(x, {p[0]});
  };
  CHECK(left_out(checked(broken).backend) == Names{"color"});
}

TEST_CASE("what is left out already stays so, and is not mentioned again", "[kernels][device]") {
  CudaBackend partial = host_backend();
  partial.flip = nullptr;
  const Checked result = checked(partial);
  CHECK(left_out(result.backend) == Names{"flip"});
  CHECK(result.warnings.empty());
}
