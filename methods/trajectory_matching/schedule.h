#pragma once
// What the student sees, and which part of which expert it follows: everything of an iteration that
// is no gradient.

#include <cstdint>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::methods::trajectory_matching {

/// Rows of the images for every step. A permutation of all images is split into chunks of `batch`,
/// which are taken from the last to the first, so that a short one comes first; then a new
/// permutation.
/// @param batch 0, or more than there are: all images in every step
/// @return `steps` int64 tensors of at most `batch` entries
std::vector<Tensor> chunk_rows(std::int64_t images, std::int64_t batch, std::int64_t steps,
                               const Rng& rng);

/// Epochs at which a student may start.
struct StartEpochs {
  std::int64_t lowest = 0;
  std::int64_t bound = 25;         ///< exclusive
  std::int64_t first_bound = 0;    ///< bound of iteration 0; 0: `bound` from the start
  std::int64_t expansion_end = 0;  ///< iteration from which on it is `bound`; 0: from the start

  /// Exclusive bound in an iteration: grows evenly, rounded down (Guo et al. 2024).
  std::int64_t bound_at(std::int64_t iteration) const;
  std::int64_t draw(std::int64_t iteration, Rng rng) const;
};

/// Which expert an iteration follows: all of them in random order, then again in another.
std::int64_t expert_of(std::int64_t iteration, std::int64_t experts, const Rng& rng);

/// Factor of the student's loss by the epoch it starts at (Shen et al. 2023): log_5(s - m + 8) from
/// the middle m of the start epochs on, 1 / log_5(m - s + 8) before.
double balanced_loss_factor(std::int64_t start_epoch, std::int64_t start_bound);

/// Steps after which a student is compared with the epochs between start and target, and how much
/// each counts. Comparison j of 1 .. epochs-1 comes after j * floor(steps / epochs) steps.
struct Checkpoint {
  std::int64_t epoch = 0;  ///< j
  std::int64_t step = 0;
  double weight = 1;
};
/// @param growing weights j / epochs; else 1
/// @throws ConfigError if there are fewer steps than epochs
std::vector<Checkpoint> checkpoints_between(std::int64_t epochs, std::int64_t steps, bool growing);

/// Parameters with noise in every convolution's weight w (Shen et al. 2023):
///   w + d / |d| * w  elementwise,  d ~ N(0, 1)
/// @param flat [P]  @return [P], a copy
Tensor with_perturbed_convolutions(const Tensor& flat, const std::vector<nn::ParameterInfo>& layout,
                                   const Rng& rng);

}  // namespace retort::methods::trajectory_matching
