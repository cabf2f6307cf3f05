#include "lib/eval/attacks.h"

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"

namespace retort::eval {
namespace {

constexpr std::int64_t kChunk = 64;
/// Of the radius over the steps: enough to reach any corner of the ball (Madry et al. 2018).
constexpr double kReach = 2.5;

void check(const Attack& attack) {
  if (attack.radius >= 0 && attack.radius <= 1 && attack.step_size >= 0 && attack.steps >= 1 &&
      attack.restarts >= 1) {
    return;
  }
  throw ConfigError(
      str("an attack needs a radius in 0 .. 1, a step size of 0 or more, and 1 or "
          "more steps and restarts; found ",
          attack.radius, ", ", attack.step_size, ", ", attack.steps, " and ", attack.restarts));
}

/// Which way every pixel raises the loss.
Tensor ascent(const nn::Network& network, const nn::NetworkState& state,
              const data::Preprocessing& preprocessing, const Tensor& pixels,
              const Tensor& labels) {
  const at::AutoGradMode gradients_on(true);
  const Tensor x = pixels.detach().requires_grad_();
  const Tensor log_p = network.forward(state, preprocessing.apply(x)).logits.log_softmax(1);
  // The sum: no image's step depends on how many others there are.
  const Tensor loss = -log_p.gather(1, labels.unsqueeze(1)).sum();
  return torch::autograd::grad({loss}, {x})[0].sign();
}

Tensor right(const nn::Network& network, const nn::NetworkState& state,
             const data::Preprocessing& preprocessing, const Tensor& pixels, const Tensor& labels) {
  const at::NoGradGuard no_grad;
  return network.forward(state, preprocessing.apply(pixels)).logits.argmax(1).eq(labels);
}

}  // namespace

Attack::Kind Attack::parse(const std::string& name) {
  if (name == "fgsm") return Kind::Fgsm;
  if (name == "pgd") return Kind::Pgd;
  throw ConfigError(unknown_name_message("attack", name, {"fgsm", "pgd"}));
}

Tensor attacked(const nn::Network& network, const nn::NetworkState& state,
                const data::Preprocessing& preprocessing, const Tensor& pixels,
                const Tensor& labels, const Attack& attack, Rng rng) {
  check(attack);
  const Tensor low = (pixels - attack.radius).clamp_min(0);
  const Tensor high = (pixels + attack.radius).clamp_max(1);
  const bool fgsm = attack.kind == Attack::Kind::Fgsm;
  const double usual = kReach * attack.radius / double(attack.steps);
  const double step = fgsm ? attack.radius : attack.step_size > 0 ? attack.step_size : usual;
  Tensor x = pixels;
  if (!fgsm) {
    const Tensor start = rng.uniform_tensor(pixels.sizes(), -attack.radius, attack.radius);
    x = at::minimum(at::maximum(pixels + start.to(pixels.options()), low), high);
  }
  for (std::int64_t i = 0; i < (fgsm ? 1 : attack.steps); ++i) {
    const Tensor moved = x + step * ascent(network, state, preprocessing, x, labels);
    x = at::minimum(at::maximum(moved, low), high);
  }
  return x;
}

double robust_accuracy(const nn::Network& network, const nn::NetworkState& state,
                       const data::ImageDataset& dataset, data::Split split, const Attack& attack,
                       const Rng& rng, const StopFlag* stop) {
  check(attack);
  const std::int64_t n = dataset.size(split);
  if (n == 0) throw ConfigError(str("'", dataset.info().name, "': there is no image to attack"));
  const std::int64_t chunks = (n + kChunk - 1) / kChunk;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(chunks));
  const data::Preprocessing preprocessing = dataset.preprocessing().on(dataset.device());
  parallel_tasks(chunks, [&](std::int64_t chunk) {
    leave_if_requested(stop, "attacking networks");
    const Tensor rows = at::arange(chunk * kChunk, std::min(n, (chunk + 1) * kChunk), at::kLong);
    const Tensor pixels = dataset.pixels(split, rows).to(dataset.device()).to(at::kFloat).div_(255);
    const Tensor labels = dataset.labels(split).index_select(0, rows).to(dataset.device());
    Tensor stands = right(network, state, preprocessing, pixels, labels);
    const std::int64_t restarts = attack.kind == Attack::Kind::Fgsm ? 1 : attack.restarts;
    for (std::int64_t restart = 0; restart < restarts; ++restart) {
      const Tensor x = attacked(network, state, preprocessing, pixels, labels, attack,
                                rng.child("chunk", chunk).child("restart", restart));
      stands = stands.logical_and(right(network, state, preprocessing, x, labels));
    }
    counts[std::size_t(chunk)] = stands.sum().item<std::int64_t>();
  });
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  return 100 * double(total) / double(n);
}

}  // namespace retort::eval
