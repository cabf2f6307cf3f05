#include "methods/prediction.h"

#include <algorithm>
#include <cmath>

#include "lib/core/clock.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/nn/network.h"

namespace retort::methods {
namespace {

double measure_flops() {
  const at::NoGradGuard no_grad;
  constexpr std::int64_t kImages = 32;
  const auto network = nn::make_network("ConvNet-3", {3, 32, 32}, 10);
  const nn::NetworkState state = network->initialize(Rng(0));
  const Tensor images = Rng(1).normal_tensor({kImages, 3, 32, 32});
  const std::int64_t tasks = 2 * thread_count();
  const auto pass = [&] {
    parallel_tasks(tasks, [&](std::int64_t) {
      network->forward(state, images, {.mode = nn::Mode::Train, .logits = false});
    });
  };
  pass();  // first use prepares kernels and memory
  double best = 1e9;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const double start = wall_seconds();
    pass();
    best = std::min(best, wall_seconds() - start);
  }
  return 2.0 * double(network->macs()) * double(kImages * tasks) / best;
}

}  // namespace

double measured_flops() {
  static const double flops = measure_flops();
  return flops;
}

Prediction predict(const DistillationMethod& method, const RunContext& run) {
  const Work work = method.work(run);
  Prediction prediction;
  if (work.setup_flops == 0 && work.flops_per_iteration == 0) return prediction;
  prediction.setup_seconds = work.setup_flops / measured_flops();
  prediction.iteration_seconds = work.flops_per_iteration / measured_flops();
  prediction.total_seconds =
      prediction.setup_seconds + prediction.iteration_seconds * double(method.iterations());
  return prediction;
}

std::string duration_text(double seconds) {
  const auto padded = [](long value) { return value < 10 ? str("0", value) : str(value); };
  if (seconds < 10) return str(std::round(seconds * 10) / 10, " s");
  const long whole = std::lround(seconds);
  if (whole < 60) return str(whole, " s");
  if (whole < 3600) return str(whole / 60, " min ", padded(whole % 60), " s");
  return str(whole / 3600, " h ", padded(whole % 3600 / 60), " min");
}

}  // namespace retort::methods
