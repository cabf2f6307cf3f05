#pragma once

#include <string>

#include "methods/method.h"

namespace retort::methods {

/// What a run will cost on this machine.
struct Prediction {
  double setup_seconds = 0;
  double iteration_seconds = 0;
  double total_seconds = 0;
};

/// Floating-point operations per second that a ConvNet forward pass reaches on this machine with
/// all threads; measured once per process, about a tenth of a second.
double measured_flops();

Prediction predict(const DistillationMethod& method, const RunContext& run);

/// "2 h 05 min", "3 min 20 s", "0.4 s"
std::string duration_text(double seconds);

}  // namespace retort::methods
