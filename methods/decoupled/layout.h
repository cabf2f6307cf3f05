#pragma once
// Which images pass through the networks together while they are recovered, and so share the
// statistics of a BatchNorm batch. Who does is part of a method.

#include <cstdint>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"

namespace retort::methods::decoupled {

/// Some images of a set that holds `ipc` of every class, class-major.
struct Batch {
  /// Across classes: the place of its images in their classes. Within: a class. Of compensators: a
  /// teacher.
  std::int64_t group = 0;
  std::int64_t part = 0;  ///< of the group
  Tensor images;          ///< int64 [B], ascending
  Tensor classes;         ///< int64 [B]

  /// What is drawn for it: depends on group and part alone, not on how many others there are.
  Rng stream(const Rng& rng) const;
};

/// One image of each of `largest` consecutive classes (Yin et al. 2023). The last batch of an index
/// may be smaller.
std::vector<Batch> across_classes(std::int64_t classes, std::int64_t ipc, std::int64_t largest);

/// Up to `largest` images of one class (Xiao and He 2024).
std::vector<Batch> within_classes(std::int64_t classes, std::int64_t ipc, std::int64_t largest);

/// Once per teacher, every place of a class: an image of each class, all of them (Zhang et al.
/// 2025). Part j is place j.
std::vector<Batch> for_compensators(std::int64_t classes, std::int64_t ipc, std::int64_t teachers);

}  // namespace retort::methods::decoupled
