#pragma once

#include <cstdint>
#include <vector>

#include "experiments/nas/study.h"
#include "lib/core/speed.h"

namespace retort::experiments::nas {

/// Predicted for this machine and its processor; trainings side by side on all threads.
struct Cost {
  double condensing_seconds = 0;
  std::int64_t proxy_trainings = 0;
  double proxy_seconds = 0;
  std::int64_t reference_trainings = 0;
  double reference_seconds = 0;
  double memory_bytes = 0;  ///< rough

  double total_seconds() const { return condensing_seconds + proxy_seconds + reference_seconds; }
};

/// Condensing from its floating-point operations; trainings by a trial, some tenths of a second
/// each, of one depth of every width, norm, activation and pooling, from which the other depths
/// follow by their multiply-accumulates.
Cost predict(const Study& study, const Clock& clock = wall_seconds);

/// Of all trainings on all threads, without a trial: from their floating-point operations.
double rough_training_seconds(const Study& study);

/// Of every proxy: 0 for those that are not condensed.
std::vector<double> condensing_seconds(const Study& study);

}  // namespace retort::experiments::nas
