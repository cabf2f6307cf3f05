#pragma once

#include <cstdint>

namespace retort::train {

/// Images that share statistics of BatchNorm where a recipe names mini-batches of `batch_size` in
/// groups of `group`, but there are fewer images than that: all of them are then one mini-batch, in
/// as many groups as a full one, as the code of CV-DD (Cui et al. 2025) cuts its batches in halves.
/// @param group 0: the whole mini-batch, which it remains
constexpr std::int64_t norm_group(std::int64_t group, std::int64_t batch_size,
                                  std::int64_t images) {
  if (group == 0 || images >= batch_size) return group;
  const std::int64_t groups = (batch_size + group - 1) / group;
  return (images + groups - 1) / groups;
}

}  // namespace retort::train
