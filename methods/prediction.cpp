#include "methods/prediction.h"

#include <algorithm>
#include <string>

#include "lib/core/clock.h"
#include "lib/core/parallel.h"
#include "lib/nn/network.h"

namespace retort::methods {
namespace {

/// Floating-point operations per second that forward passes reach on this machine with all threads:
/// some tenths of a second.
/// @param net a ConvNet for 32x32 images
double measure(const std::string& net, bool second_order) {
  const at::NoGradGuard no_grad;
  constexpr std::int64_t kImages = 32;
  const auto network = nn::make_network(net, {3, 32, 32}, 10);
  const Tensor images = Rng(1).normal_tensor({kImages, 3, 32, 32});
  const std::int64_t tasks = 2 * thread_count();
  const auto pass = [&] {
    parallel_tasks(tasks, [&](std::int64_t) {
      // A state of its own: training-mode BatchNorm writes into it.
      network->forward(network->initialize(Rng(0)), images,
                       {.mode = nn::Mode::Train, .logits = false, .second_order = second_order});
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

// The rates of the paths of Flops, each measured once and only if there is work for it.
double fused_rate() {
  static const double rate = measure("ConvNet-3", false);
  return rate;
}
double layered_rate() {
  static const double rate = measure("ConvNet-3-leakyrelu", false);
  return rate;
}
double plain_rate() {
  static const double rate = measure("ConvNet-3", true);
  return rate;
}

}  // namespace

Flops forward_flops(const nn::Network& network, double images, Pass pass) {
  const double flops = 2.0 * double(network.macs()) * images;
  std::string name = network.name();
  if (!name.starts_with("ConvNet")) return {.plain = flops};
  for (const char* norm : {"-BN", "-GN"}) {
    const auto found = name.find(norm);
    if (found != std::string::npos) name.erase(found, 3);
  }
  // "ConvNet-3", "ConvNet-3-w64": a fused norm, the default activation and pooling.
  const auto variant = name.find_first_not_of("-w0123456789", std::string("ConvNet").size());
  if (variant == std::string::npos && pass != Pass::Layered) return {.fused = flops};
  if (pass == Pass::SecondOrder) return {.plain = flops};
  return {.layered = flops};
}

double predicted_seconds(const Flops& work) {
  const auto of = [](double flops, double (*rate)()) { return flops > 0 ? flops / rate() : 0.0; };
  return of(work.fused, fused_rate) + of(work.layered, layered_rate) + of(work.plain, plain_rate);
}

double training_seconds(const nn::Network& network, double passes, std::int64_t runs) {
  const double seconds = predicted_seconds(forward_flops(network, passes * double(runs)));
  // With BatchNorm each keeps to one thread, and leaves the others idle.
  const bool idle = !network.per_sample(nn::Mode::Train) && runs < thread_count();
  return idle ? seconds * double(thread_count()) / double(runs) : seconds;
}

Flops operator+(const Flops& a, const Flops& b) {
  return {.fused = a.fused + b.fused, .layered = a.layered + b.layered, .plain = a.plain + b.plain};
}

Flops feature_flops(const data::ImageDataset& dataset, const synth::FeatureOptions& features) {
  if (features.features == "pixels") return {};
  constexpr double kTraining = 3;  // forward, input and weight gradients
  const auto network = nn::make_network(features.net, dataset.shape(), dataset.num_classes());
  return forward_flops(*network, double(dataset.size(data::Split::Train)) *
                                     (kTraining * double(features.epochs) + 1));
}

double activation_bytes(const nn::Network& network, double images) {
  // ConvNet-3 at 32x32 makes one output of a convolution in about 300 multiply-accumulates; the
  // graph keeps it four times: convolution, norm, activation, pooling.
  constexpr double kMacsPerOutput = 300;
  constexpr double kBytesPerOutput = 4 * sizeof(float);
  return images * double(network.macs()) / kMacsPerOutput * kBytesPerOutput;
}

double pixel_bytes(const data::ImageDataset& dataset) {
  const auto shape = dataset.shape();
  return double(dataset.size(data::Split::Train) + dataset.size(data::Split::Test)) *
         double(shape.channels * shape.height * shape.width);
}

Prediction predict(const DistillationMethod& method, const RunContext& run) {
  const Work work = method.work(run);
  Prediction prediction{.memory_bytes = work.memory_bytes};
  prediction.setup_seconds = predicted_seconds(work.setup);
  prediction.iteration_seconds = predicted_seconds(work.per_iteration);
  prediction.total_seconds =
      prediction.setup_seconds + prediction.iteration_seconds * double(method.iterations());
  return prediction;
}

}  // namespace retort::methods
