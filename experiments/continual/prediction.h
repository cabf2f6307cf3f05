#pragma once

#include <vector>

#include "experiments/continual/study.h"

namespace retort::experiments::continual {

/// Predicted for this machine and its processor.
struct StepCost {
  double condensing_seconds = 0;
  double network_seconds = 0;  ///< of all its networks
};

struct Cost {
  std::vector<StepCost> steps;  ///< of every order
  std::int64_t orders = 0;
  double memory_bytes = 0;  ///< rough, of condensing; 0: not predicted

  double condensing_seconds() const;  ///< of all orders
  double network_seconds() const;
  double total_seconds() const { return condensing_seconds() + network_seconds(); }
};

/// @throws as Study::classes_of
Cost predict(const Study& study);

}  // namespace retort::experiments::continual
