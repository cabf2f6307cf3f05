#include "methods/trajectory_matching/schedule.h"

#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "methods/trajectory_matching/flat.h"

namespace retort::methods::trajectory_matching {

std::vector<Tensor> chunk_rows(std::int64_t images, std::int64_t batch, std::int64_t steps,
                               const Rng& rng) {
  if (batch <= 0) batch = images;
  std::vector<Tensor> rows;
  std::vector<Tensor> chunks;
  for (std::int64_t pass = 0; std::int64_t(rows.size()) < steps;) {
    if (chunks.empty()) {
      Rng order = rng.child("order", pass++);
      chunks = order.permutation_tensor(images).split(std::min(batch, images));
    }
    rows.push_back(chunks.back());
    chunks.pop_back();
  }
  return rows;
}

std::int64_t StartEpochs::bound_at(std::int64_t iteration) const {
  if (first_bound == 0 || expansion_end == 0 || iteration >= expansion_end) return bound;
  return first_bound + (bound - first_bound) * iteration / expansion_end;
}

std::int64_t StartEpochs::draw(std::int64_t iteration, Rng rng) const {
  return lowest + rng.integer(bound_at(iteration) - lowest);
}

std::int64_t expert_of(std::int64_t iteration, std::int64_t experts, const Rng& rng) {
  Rng order = rng.child("pass", iteration / experts);
  return order.permutation(experts)[std::size_t(iteration % experts)];
}

double balanced_loss_factor(std::int64_t start_epoch, std::int64_t start_bound) {
  constexpr double kBase = 5;
  constexpr std::int64_t kOffset = 8;
  const std::int64_t middle = start_bound / 2;
  const auto distance = double(std::abs(start_epoch - middle) + kOffset);
  const double logarithm = std::log(distance) / std::log(kBase);
  return start_epoch >= middle ? logarithm : 1 / logarithm;
}

std::vector<Checkpoint> checkpoints_between(std::int64_t epochs, std::int64_t steps, bool growing) {
  if (steps < epochs) {
    throw ConfigError(
        str("intermediate: ", epochs, " epochs need as many steps, found syn-steps ", steps));
  }
  std::vector<Checkpoint> checkpoints;
  for (std::int64_t j = 1; j < epochs; ++j) {
    const double weight = growing ? double(j) / double(epochs) : 1;
    checkpoints.push_back({.epoch = j, .step = j * (steps / epochs), .weight = weight});
  }
  return checkpoints;
}

Tensor with_perturbed_convolutions(const Tensor& flat, const std::vector<nn::ParameterInfo>& layout,
                                   const Rng& rng) {
  const at::NoGradGuard no_grad;
  Tensor result = flat.clone();
  const Tensors parameters = nn::unflatten(result, layout);
  for (std::size_t i = 0; i < layout.size(); ++i) {
    if (layout[i].shape.size() != 4) continue;
    Rng stream = rng.child(layout[i].name);
    const Tensor noise = stream.normal_tensor(layout[i].shape);
    const double length = std::sqrt(squared_norm(noise));
    const Tensor weight = parameters[i];
    weight.addcmul_(noise.to(weight.options()), weight, 1 / length);
  }
  return result;
}

}  // namespace retort::methods::trajectory_matching
